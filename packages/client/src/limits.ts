/** Every bound of the client, with its unit and its reason. */

/** How long `connect` tries to reach a server and waits for the cluster's record, in milliseconds. */
export const CONNECT_TIMEOUT_MS = 10_000

/** How long signals, updates and starts wait for their outcome, in milliseconds. Longer than a failover with a JetStream election in it. */
export const OUTCOME_TIMEOUT_MS = 30_000

/** How long queries, `describe` and `list` keep asking, in milliseconds. Longer than a failover. */
export const READ_TIMEOUT_MS = 15_000

/** How long `result` waits for an instance to close, in milliseconds. Workflows may take long, but a forgotten wait shall end. */
export const RESULT_TIMEOUT_MS = 3_600_000

/** Outcomes that one connection waits for at once. Each holds an entry in the reply inbox. */
export const WAITING_MAX = 100_000

/** Inputs of one `signalMany` under way at once: enough to fill the pipe, little enough to stop soon. */
export const IN_FLIGHT_DEFAULT = 2048
export const IN_FLIGHT_MAX = 65_536

/** Failed items that one `signalMany` describes; it counts the rest. */
export const FAILURES_KEPT_DEFAULT = 100
export const FAILURES_KEPT_MAX = 10_000

/** Rows of one page of `list`, when the caller does not say. */
export const LIST_LIMIT_DEFAULT = 100
