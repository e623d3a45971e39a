// A named step: one line with its duration; its output only when it failed.

/**
 * @param {string} name
 * @param {() => Promise<{ ok: boolean, output?: string, note?: string }>} body
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function step(name, body) {
  const startedAt = performance.now()
  const { ok, output = '', note = '' } = await body().catch((error) => ({ ok: false, output: `${error.message}\n` }))
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const line = `${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(16)} ${seconds.padStart(6)} s  ${note}`
  console.log(line.trimEnd())
  if (!ok && output.trim() !== '') console.log(output.trimEnd())
  return ok
}
