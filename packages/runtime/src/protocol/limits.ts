/** Every bound of the wire, with its unit and its reason. Reaching one is a clear error, never a crash. */

/** Bytes of an instance id, name or type as UTF-8 before encoding. Keeps a whole log subject under NATS's line limit of 4 KiB. */
export const ID_BYTES_MAX = 200

/** Bytes of an input id (idempotency key). It is kept in the instance's state, so it is short. */
export const INPUT_ID_BYTES_MAX = 200

/** Bytes of one encoded payload. NATS refuses messages over 1 MiB by default, headers included; half leaves room for wrapping. */
export const PAYLOAD_BYTES_MAX = 512 * 1024

/** Bytes that codecs may add to one payload: key ids, nonces, tags. So a payload of the full size still passes them. */
export const CODEC_OVERHEAD_BYTES_MAX = 4096

/** Nesting levels of a payload or a state. The msgpack encoder recurses, so deeper data could be read but never written back. */
export const DEPTH_MAX = 64

/** Bytes of one namespace token. */
export const NAMESPACE_BYTES_MAX = 32

/** Partitions of a cluster: the hash is taken modulo this, so it is fixed when the cluster is created. */
export const PARTITIONS_DEFAULT = 64
export const PARTITIONS_MAX = 16_384

/** Messages in one atomic batch: nats-server refuses more. */
export const BATCH_MESSAGES_MAX = 1000
