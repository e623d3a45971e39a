/** Every time-out and bound of membership and ownership, with its unit and its reason. docs: ARCHITECTURE.md, "Placement and failover". */

/** Between two looks at the cluster, and two pings of one node. A killed owner is found after one to two of them. */
export const TICK_MS = 100
/** Between two heartbeats of a node. */
export const BEAT_MS = 250
/** Looks that find nobody behind a node's private subject, in a row, before its process counts as gone: one alone may be a reconnect. */
export const ABSENCES_MIN = 2
/** Without a heartbeat for so long a node counts as frozen: eight beats, above pauses of garbage collection and of a busy machine. */
export const SILENCE_MS = 2000
/**
 * A node that was last heard of before a NATS server left has so long to come back: clients look for another server for up to 5 s, and then have to be
 * heard of.
 */
export const SERVER_LOSS_MS = 6000
/** A node that was heard of so long behind the loss of a server is not affected by it: two beats. */
export const AFTER_LOSS_MS = 500
/** A gap in this node's own looks beyond which it has slept: what it knows is old, and everybody gets a fresh grace. */
export const WAKE_MS = 1000
/** So much of the time between two looks counts against others at most: what is beyond is this node's own lateness. */
export const LATENESS_MS = 200
/** Without the echo of an own heartbeat for so long, this node hears nobody, and judges nobody. */
export const BLIND_MS = 1000
/** A gap between two heartbeats of a node beyond which it is not stable. */
export const UNSTABLE_GAP_MS = 1000
/** A node that was away, or had a gap, is given nothing before it has been stable for so long. */
export const RETURN_SETTLE_MS = 30_000
/** A node that has joined is given nothing for so long: others may be joining with it. */
export const JOIN_SETTLE_MS = 2000
/** A partition that has come from another node stays for so long where it is. */
export const HOLD_MS = 30_000
/**
 * A node that this one does not hear, and that becomes an owner all the same, is left alone for so long: the network is cut between the two, or a write of
 * a node that is gone was late. Doubled each time until it is heard, up to the second.
 */
export const CONTRADICTED_MS = 10_000
export const CONTRADICTED_MS_MAX = 120_000
/** With standbys, a node that is away keeps its places as a standby for so long: a restart is cheaper than copying everything. */
export const REPLACE_AFTER_MS = 10_000
/** The second candidate takes an ownerless partition so much later than the first, and so on. */
export const TAKE_STEP_MS = 300
/** At its start a node that is not alone listens for so long before it takes anything. */
export const DISCOVER_MS = 300
/** Between two reads of all ownership records. */
export const OWNERS_EVERY_MS = 1000
/** Records that were not read for so long are no ground for moving a partition. */
export const OWNERS_FRESH_MS = 3000
/** Partitions that one node gives away at a time: each is without an owner for a moment, and its new owner has work. */
export const MOVES_MAX = 4
/** A standby that is behind its owner by more inputs of the journal gets nothing moved to it: its first inputs would wait. */
export const MOVE_LAG_MAX = 50_000
/** A move that takes longer is given up, and the partition served on where it was. */
export const MOVE_MS_MAX = 5000
/**
 * Partitions that a node begins to follow at a time: those that begin together are caught up by one pass through the journal, so few at a time would cost
 * more. A node that is alone begins all at once.
 */
export const FOLLOWS_MAX = 64
/** Nodes pinged in one look. */
export const PINGS_MAX = 64
/** Nodes, present or gone, that are remembered. */
export const PEERS_MAX = 4096
/** A node that is gone is forgotten after so long. */
export const FORGET_MS = 300_000
/** Before an action that failed is tried again: doubled each time, up to the second. */
export const RETRY_MS = 100
export const RETRY_MS_MAX = 5000
