// A vitest reporter that writes what happened to the file named by CARILLON_TEST_SUMMARY, as JSON.

import { writeFileSync } from 'node:fs'

/** @typedef {{ passed: number, failed: string[], skipped: { name: string, reason: string | undefined }[] }} Summary */

export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    /** @type {Summary} */
    const summary = {
      passed: 0,
      failed: unhandledErrors.map((error) => `unhandled error: ${error.message}`),
      skipped: [],
    }
    for (const module of modules) addModule(summary, module)
    writeFileSync(process.env['CARILLON_TEST_SUMMARY'], JSON.stringify(summary))
  }
}

function addModule(summary, module) {
  const file = module.relativeModuleId
  if (module.errors().length > 0) summary.failed.push(`${file}: the file itself`)
  for (const suite of module.children.allSuites()) {
    if (suite.errors().length > 0) summary.failed.push(`${file} > ${suite.fullName}: the suite itself`)
  }
  for (const test of module.children.allTests()) addTest(summary, test, `${file} > ${test.fullName}`)
}

function addTest(summary, test, name) {
  const { state, note } = test.result()
  if (state === 'passed') summary.passed++
  else if (state === 'skipped') summary.skipped.push({ name, reason: note })
  else summary.failed.push(state === 'pending' ? `${name}: did not finish` : name)
}
