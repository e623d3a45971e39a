/**
 * `opening`: connects, and opens its data; `catching-up`: takes its part of the partitions for the first time; `live`: takes part; `draining`: was
 * asked to stop.
 */
export type NodePhase = 'opening' | 'catching-up' | 'live' | 'draining'
