export interface NatsServer {
  readonly path: string
  readonly version: string
}

export interface ProvideNatsServerOptions {
  /** The oldest version that will do; by default 2.12.0. */
  readonly minVersion?: string
  /** Receives one line per slow step. */
  readonly log?: (line: string) => void
}

/**
 * Finds a nats-server, or downloads one into the cache folder.
 *
 * @throws NATS_SERVER_UNUSABLE when CARILLON_NATS_SERVER is set but not a nats-server that is new enough
 * @throws NATS_SERVER_NOT_FOUND when every source failed; the message says how to install one
 */
export declare function provideNatsServer(options?: ProvideNatsServerOptions): Promise<NatsServer>

export declare function isAtLeast(version: string, minVersion: string): boolean
