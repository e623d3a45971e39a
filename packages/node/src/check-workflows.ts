/** Whether what a node is to run belongs together. */
import { CarillonError, missingActivities } from '@carillon/runtime'

import type { Workflows } from './node.ts'

/** @throws INVALID_DEFINITION when a type is there twice, or without the activities that it declares. */
export function checkWorkflows({ implementations, activities }: Workflows): void {
  const names = new Set<string>()
  for (const { contract } of implementations) {
    if (names.has(contract.name))
      throw new CarillonError(
        'INVALID_DEFINITION',
        `two implementations of the workflow type ${contract.name} were given: pass one`,
      )
    names.add(contract.name)
    const missing = missingActivities(contract, activities, 'local')
    if (missing.length === 0) continue
    throw new CarillonError(
      'INVALID_DEFINITION',
      `no activities were given for ${contract.name}, which declares ${missing.join(', ')}: pass implementActivities(…) for it`,
    )
  }
}
