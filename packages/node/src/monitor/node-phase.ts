/**
 * `opening`: connects, or waits for another node to be gone; `catching-up`: reads the journal up to its end; `live`: effects go out; `draining`: was
 * asked to stop.
 */
export type NodePhase = 'opening' | 'catching-up' | 'live' | 'draining'
