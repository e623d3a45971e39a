/** Where the parts are that run as processes of their own. */
import { fileURLToPath } from 'node:url'

const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

export const CARILLON = fileURLToPath(new URL('../../node/bin/carillon.js', import.meta.url))
export const WORKFLOWS = part('workloads/workflows')
export const RECEIPTS_MODULE = part('workloads/receipts')
export const PRODUCER = part('processes/producer')
export const CHECKER = part('checker/main')

function part(name: string): string {
  return fileURLToPath(new URL(`./${name}${EXTENSION}`, import.meta.url))
}
