/** Of each partition there is at most one owner in each epoch. */
import type { Owning } from '../histories.ts'
import type { Findings } from './findings.ts'
import { Tail } from './tail.ts'

export class OwnerCheck {
  readonly #tail: Tail<Owning>
  readonly #findings: Findings
  /** By partition and epoch. */
  readonly #owners = new Map<string, { readonly node: string; readonly incarnation: string }>()

  constructor(path: string, findings: Findings) {
    this.#tail = new Tail(path)
    this.#findings = findings
  }

  check(): void {
    for (const { node, incarnation, owned } of this.#tail.read()) {
      for (const [partition, epoch] of owned) {
        this.#findings.looked('ownership')
        const place = `partition ${partition} in epoch ${epoch}`
        const known = this.#owners.get(place)
        if (known !== undefined && known.incarnation !== incarnation)
          this.#findings.find(
            'ownership',
            `${place} is owned by ${known.node} (${known.incarnation}) and by ${node} (${incarnation})`,
          )
        else this.#owners.set(place, { node, incarnation })
      }
    }
  }
}
