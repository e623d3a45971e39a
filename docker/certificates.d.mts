export interface Pair {
  /** As PEM. */
  readonly certificate: string
  readonly key: string
}

export function makeAuthority(name: string): Promise<Pair>
export function makeCertificate(authority: Pair, names: readonly string[]): Promise<Pair>
