/** What nodes say to each other, on core NATS. */
import {
  encodeBeat,
  encodePingAnswer,
  encodeToken,
  encodeValue,
  type NodeBeat,
  type NodeRequest,
  parseBeat,
  parseNodeRequest,
  parsePingAnswer,
  type PingAnswer,
  type RpcResponse,
  type Subjects,
} from '@carillon/runtime/protocol'
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node'

import { isNoResponders } from '../server-check.ts'

/** An answer on a busy machine takes this long at most; "no responders" comes at once. */
const ANSWER_MS_MAX = 500

/** What a ping, or the question who is there, came to. */
export type Found = PingAnswer | 'absent' | 'silent'

export interface NodeBusHandlers {
  readonly onBeat: (beat: NodeBeat) => void
  readonly onRequest: (request: NodeRequest) => RpcResponse
}

export class NatsNodeBus {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  #subscriptions: readonly Subscription[] = []

  constructor(nc: NatsConnection, subjects: Subjects) {
    this.#nc = nc
    this.#subjects = subjects
  }

  /** From now on this node is there for the others. */
  join(self: PingAnswer, { onBeat, onRequest }: NodeBusHandlers): void {
    const token = encodeToken(self.node, 'node name')
    const answer = encodePingAnswer(self)
    const on = (subject: string, handle: (message: Msg) => void): Subscription =>
      this.#nc.subscribe(subject, { callback: (error, message) => (error === null ? handle(message) : undefined) })
    this.#subscriptions = [
      on(this.#subjects.nodeBeat, (message) => {
        const beat = parseBeat(message.data, this.#subjects.partitions)
        if (beat !== undefined) onBeat(beat)
      }),
      on(this.#subjects.nodePing(token), (message) => void message.respond(answer)),
      on(this.#subjects.nodeDiscover, (message) => void message.respond(answer)),
      on(this.#subjects.nodeAsk(token), (message) => {
        const request = parseNodeRequest(message.data)
        message.respond(encodeValue(request === undefined ? UNKNOWN_REQUEST : onRequest(request)))
      }),
    ]
  }

  /** Nobody behind its subject from now on. Resolves when the server knows it, or the connection is gone. */
  async leave(): Promise<void> {
    const subscriptions = this.#subscriptions
    this.#subscriptions = []
    if (this.#nc.isClosed()) return
    for (const subscription of subscriptions) subscription.unsubscribe()
    await this.#nc.flush().catch(() => undefined)
  }

  beat(beat: NodeBeat): void {
    if (!this.#nc.isClosed()) this.#nc.publish(this.#subjects.nodeBeat, encodeBeat(beat))
  }

  ping(node: string): Promise<Found> {
    return this.#ask(this.#subjects.nodePing(encodeToken(node, 'node name')))
  }

  /** Makes every node beat; gives one of them. */
  discover(): Promise<Found> {
    return this.#ask(this.#subjects.nodeDiscover)
  }

  async #ask(subject: string): Promise<Found> {
    try {
      const { data } = await this.#nc.request(subject, undefined, { timeout: ANSWER_MS_MAX })
      return parsePingAnswer(data) ?? 'silent'
    } catch (error) {
      return isNoResponders(error) ? 'absent' : 'silent'
    }
  }
}

const UNKNOWN_REQUEST: RpcResponse = {
  ok: false,
  error: {
    code: 'UNKNOWN_NAME',
    message: 'this release does not know what was asked: ask with the release that the node runs',
  },
}
