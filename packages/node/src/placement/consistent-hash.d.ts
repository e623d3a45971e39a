declare module 'consistent-hash' {
  export default class ConsistentHash {
    constructor(options?: { readonly range?: number })
    add(node: string, weight: number, points: readonly number[]): this
    get(name: string, count: number): string[] | null
  }
}
