/** Names of users by role; of workers, the activities each may run: `<queue>/<type>/<activity>`, or none for all. */
export interface Spec {
  readonly namespace: string
  /** Names and addresses of the servers, for their certificates. */
  readonly servers: readonly string[]
  /** What all streams may take on disk, their copies counted; undefined for what the servers have. */
  readonly storage: string | undefined
  readonly nodes: readonly string[]
  readonly maintainers: readonly string[]
  readonly devices: readonly string[]
  readonly producers: readonly string[]
  readonly workers: Readonly<Record<string, readonly string[]>>
  readonly operators: readonly string[]
  readonly admins: readonly string[]
}

export interface SpecUser {
  readonly name: string
  readonly role: string
}

export interface UserSettings {
  readonly inboxPrefix: string
  readonly jsPrefix?: string
}

export function parseSpec(value: unknown): Spec
export function usersOf(spec: Spec): SpecUser[]
export function settingsOf(spec: Spec, user: SpecUser): UserSettings
export function formatAccounts(spec: Spec, keysOf: (name: string) => readonly string[]): string
