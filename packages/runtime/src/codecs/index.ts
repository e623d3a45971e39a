export { compression, type CompressionOptions } from './compression.ts'
export { encryption, type EncryptionOptions } from './encryption.ts'
export {
  type CodecsOptions,
  createCodecs,
  type PayloadCodec,
  PayloadCodecs,
  type PayloadPlace,
} from '../protocol/index.ts'
