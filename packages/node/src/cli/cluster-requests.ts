/** What operators ask of nodes: `drain`, `resume`, `rebalance`. */
import { CarillonError, fromErrorData } from '@carillon/runtime'
import {
  decodeValue,
  encodeNodeRequest,
  encodeToken,
  type NodeRequest,
  quote,
  type RpcResponse,
} from '@carillon/runtime/protocol'
import { errors } from '@nats-io/transport-node'

import type { ClusterConnection } from './cluster-connection.ts'

const ANSWER_MS = 5000

/**
 * Asks one node; resolves when it has noted it.
 *
 * @throws NO_NODE when there is none of this name. @throws TIMEOUT when it gives no answer. @throws what it answers.
 */
export async function askNode({ nc, subjects }: ClusterConnection, node: string, op: NodeRequest['op']): Promise<void> {
  const subject = subjects.nodeAsk(encodeToken(node, 'node name'))
  let response: RpcResponse
  try {
    const { data } = await nc.request(subject, encodeNodeRequest({ op }), { timeout: ANSWER_MS })
    response = decodeValue(data) as RpcResponse
  } catch (error) {
    if (error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders()))
      throw new CarillonError('NO_NODE', `no node is called ${quote(node)}: carillon cluster shows those that run`)
    if (error instanceof errors.TimeoutError)
      throw new CarillonError('TIMEOUT', `the node ${quote(node)} gave no answer within ${ANSWER_MS} ms: ask again`)
    throw error
  }
  if (!response.ok) throw fromErrorData(response.error)
}
