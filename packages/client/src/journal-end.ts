/** How far the journal of one instance goes: what a linearizable read has to see. */
import { CarillonError } from '@carillon/runtime'

import { type Deadline, pause, within } from './deadline.ts'
import { refusedSubject } from './refused-subject.ts'
import type { Session } from './session.ts'
import { formatTarget, type Target } from './target.ts'

const RETRY_MS = 100

type Answer = { readonly seq: number } | { readonly reason: string }

/**
 * The sequence of the last input of an instance that is stored, by whomever; 0 when there is none.
 *
 * It asks the leader of the stream (`STREAM.MSG.GET`), so what was acknowledged before the call is in the answer. The direct read that the rest of
 * this package uses may be answered by any replica, and a replica may be behind.
 *
 * @throws TIMEOUT when the leader gives no answer until the deadline. @throws CLOSING when the client is closed.
 */
export async function lastSeqOf(session: Session, target: Target, deadline: Deadline): Promise<number> {
  for (;;) {
    const answer = (await within(ask(session, target), deadline.leftMs)) ?? { reason: 'no answer' }
    if ('seq' in answer) return answer.seq
    if (session.closing.aborted) throw new CarillonError('CLOSING', 'the client is closed')
    if (deadline.leftMs <= RETRY_MS)
      throw new CarillonError(
        'TIMEOUT',
        `the leader of the stream ${session.subjects.logStream} did not say where the journal of ${formatTarget(target)} ends (${answer.reason}): ask again`,
      )
    await pause(RETRY_MS, session.closing)
  }
}

async function ask(session: Session, { typeToken, idToken }: Target): Promise<Answer> {
  const { subjects } = session
  try {
    const manager = await session.jetStream()
    const filter = subjects.logOfInstance(typeToken, idToken)
    const last = await manager.streams.getMessage(subjects.logStream, { last_by_subj: filter })
    return { seq: last?.seq ?? 0 }
  } catch (error) {
    const refused = refusedSubject(error)
    if (refused !== undefined) throw refused
    return { reason: error instanceof Error ? error.message : String(error) }
  }
}
