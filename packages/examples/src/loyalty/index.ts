export { createLoyaltyActivities } from './activities.ts'
export { type Entry, type Level, Loyalty, type Statement, type Status } from './contract.ts'
export { type FeedEvent, readFeed } from './feed.ts'
export {
  type Delivery,
  FilePartner,
  type FilePartnerOptions,
  type Partner,
  type PartnerBook,
  readPartner,
} from './partner.ts'
export { type Redemption, replay, type ReplayOptions, type ReplayResult } from './producer.ts'
export { createLoyalty, type LoyaltyOptions, MONTHLY, type Schedule } from './workflow.ts'
