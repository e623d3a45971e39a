/** Keeps credentials out of what the command prints. */

const SECRET_VARIABLES = ['CARILLON_PASSWORD', 'CARILLON_TOKEN'] as const

/** A text without credentials: neither `user:password@` in URLs, nor the values of the variables that hold some. */
export function withoutSecrets(text: string, env: NodeJS.ProcessEnv = process.env): string {
  let clean = text.replaceAll(/\/\/[^/\s]*@/g, '//')
  for (const name of SECRET_VARIABLES) {
    const secret = env[name]
    if (secret !== undefined && secret !== '') clean = clean.replaceAll(secret, '…')
  }
  return clean
}
