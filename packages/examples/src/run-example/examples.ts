/** Which examples there are, and the files of each. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Example {
  readonly name: string
  /** What `carillon dev` is given. */
  readonly workflows: readonly string[]
  readonly producer: string
  /** The nats-server takes MQTT; the producer's second argument says where. */
  readonly hasMqtt: boolean
}

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url))
const WITH_MQTT = new Set(['iot-device'])
/** A module that makes the workflows and activities for a node comes before the two themselves. */
const WORKFLOWS = [['for-node.ts'], ['workflow.ts', 'activities.ts'], ['workflow.ts']] as const
/** Where `producer.ts` is a library of the demo, a shop is the producer. */
const PRODUCERS = ['shop.ts', 'producer.ts'] as const

/** The names of all examples, sorted. */
export function exampleNames(): readonly string[] {
  return readdirSync(SOURCES)
    .filter((name) => existsSync(join(SOURCES, name, 'contract.ts')))
    .toSorted()
}

/** @returns undefined when there is no example of that name. */
export function findExample(name: string): Example | undefined {
  if (!exampleNames().includes(name)) return undefined
  const pathOf = (file: string): string => join(SOURCES, name, file)
  const isThere = (file: string): boolean => existsSync(pathOf(file))
  const workflows = WORKFLOWS.find((files) => files.every(isThere))
  const producer = PRODUCERS.find(isThere)
  if (workflows === undefined || producer === undefined)
    throw new Error(`the example ${name} lacks ${workflows === undefined ? 'workflow.ts' : 'producer.ts'}`)
  return { name, workflows: workflows.map(pathOf), producer: pathOf(producer), hasMqtt: WITH_MQTT.has(name) }
}
