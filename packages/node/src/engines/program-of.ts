/** The file of a program that lies in this folder, compiled as its caller is. */
import { fileURLToPath } from 'node:url'

export function programOf(caller: string, name: string): string {
  return fileURLToPath(new URL(`./${name}${caller.endsWith('.ts') ? '.ts' : '.js'}`, caller))
}
