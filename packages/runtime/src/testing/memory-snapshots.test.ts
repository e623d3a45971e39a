import { MemorySnapshots } from './memory-snapshots.ts'
import { snapshotsConformance } from './snapshots-conformance.ts'

snapshotsConformance('MemorySnapshots', () =>
  Promise.resolve({ snapshots: new MemorySnapshots(), dispose: () => Promise.resolve() }),
)
