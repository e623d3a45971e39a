/** Schemas at the edge: any Standard Schema, or a bare type without run-time validation. */
import type { StandardSchemaV1 } from '@standard-schema/spec'

import { CarillonError } from '../errors.ts'

/** Any Standard Schema: zod, valibot, arktype, …, or `type<T>()`. */
export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>

/** What a sender passes for this schema. */
export type InputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : undefined
/** What a handler gets for this schema. */
export type OutputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : undefined

const PASS = 'carillon'

/** A bare type: checked by the compiler, passed through at run time. */
export function type<T>(): Schema<T> {
  return { '~standard': { version: 1, vendor: PASS, validate: (value) => ({ value: value as T }) } }
}

/**
 * Validates a value, synchronously: it runs inside turns.
 *
 * @throws INVALID_PAYLOAD with every issue and its path. @throws INVALID_DEFINITION when the schema is asynchronous.
 */
export function validate(schema: Schema | undefined, value: unknown, what: string): unknown {
  if (schema === undefined || schema['~standard'].vendor === PASS) return value
  const result = schema['~standard'].validate(value)
  if (result instanceof Promise) {
    throw new CarillonError(
      'INVALID_DEFINITION',
      `the schema of ${what} validates asynchronously: a turn cannot wait for it, use a synchronous schema`,
    )
  }
  if (result.issues === undefined) return result.value
  const issues = result.issues.map((issue) => `${formatPath(issue.path)}${issue.message}`)
  throw new CarillonError('INVALID_PAYLOAD', `the payload of ${what} is not valid: ${issues.join('; ')}`, {
    details: { issues },
  })
}

function formatPath(path: StandardSchemaV1.Issue['path']): string {
  if (path === undefined || path.length === 0) return ''
  return `${path.map((part) => String(typeof part === 'object' ? part.key : part)).join('.')}: `
}
