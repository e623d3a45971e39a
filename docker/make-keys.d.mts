export interface MakeKeysOptions {
  /** The file with the users. */
  readonly users: string
  /** The folder of the keys, made when absent. */
  readonly out: string
  /** A user who gets a second key. */
  readonly rotate?: string | undefined
  /** A user whose older key goes. */
  readonly retire?: string | undefined
  readonly tls?: boolean
}

export function makeKeys(options: MakeKeysOptions): Promise<string[]>
