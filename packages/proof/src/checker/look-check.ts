/** What nodes say of instances is what the reference says of them at that place of the journal, whoever is asked, and whenever. */
import type { Look } from '../histories.ts'
import { canonical, type Fold } from '../reference/fold.ts'
import type { Findings } from './findings.ts'
import { Tail } from './tail.ts'

/** What each account is opened with. */
const BALANCE = 1000

export class LookCheck {
  readonly #tail: Tail<Look>
  readonly #fold: Fold
  readonly #findings: Findings
  readonly #digests = new Map<string, string>()
  readonly #reached = new Map<string, number>()

  constructor(path: string, fold: Fold, findings: Findings) {
    this.#tail = new Tail(path)
    this.#fold = fold
    this.#findings = findings
  }

  check(round: number): void {
    const accounts = new Map<string, number>()
    for (const look of this.#tail.read()) {
      this.#judge(look)
      if (look.when === 'quiet' && look.round === round && look.reader === 'owner' && look.key.startsWith('account.'))
        accounts.set(look.key, (look.view as { state: { balance: number } }).state.balance)
    }
    if (accounts.size > 0) this.#checkBank(accounts)
  }

  #judge(look: Look): void {
    const { key, seq, digest, view, minSeq, reader, when } = look
    const findings = this.#findings
    findings.looked('state')
    const place = `${key} at seq ${seq}`
    const wanted = this.#fold.viewAt(key, seq)
    const said = canonical(view)
    if (wanted === undefined)
      findings.find('state', `a node says of ${key} that it has applied ${seq}, which is no input of it`)
    else if (said !== wanted) findings.find('state', `${place} is ${said}, the reference says ${wanted}`)
    const latest = this.#fold.instances.get(key)?.seq ?? 0
    if (latest <= minSeq && seq < latest)
      findings.find('state', `${key} was read at seq ${seq}, although ${latest} had to be seen (${when})`)
    findings.looked('digest')
    const known = this.#digests.get(place)
    if (known !== undefined && known !== digest)
      findings.find('digest', `${place} has the digests ${known} and ${digest}`)
    this.#digests.set(place, digest)
    const before = this.#reached.get(`${reader} ${key}`) ?? 0
    if (seq < before) findings.find('state', `${reader} saw ${key} at seq ${before}, and then at ${seq}`)
    this.#reached.set(`${reader} ${key}`, seq)
  }

  #checkBank(accounts: ReadonlyMap<string, number>): void {
    this.#findings.looked('bank', accounts.size)
    const known = [...this.#fold.instances.keys()].filter((key) => key.startsWith('account.')).length
    const sum = [...accounts.values()].reduce((total, balance) => total + balance, 0)
    if (accounts.size !== known || sum !== known * BALANCE)
      this.#findings.find(
        'bank',
        `${accounts.size} of ${known} accounts hold ${sum} together, it must be ${known * BALANCE}`,
      )
  }
}
