export { type Member, type Placement, type PlacementOptions, placePartitions } from './place-partitions.ts'
