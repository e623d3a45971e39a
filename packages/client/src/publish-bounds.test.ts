import { expect, it } from 'vitest'

import { PendingBounds } from './publish-bounds.ts'

it('refuses over the bounds, in messages or bytes', () => {
  const bounds = new PendingBounds({ messagesMax: 2, bytesMax: 100 })
  expect(bounds.fits(100)).toBe(true)
  expect(bounds.fits(101)).toBe(false)
  bounds.add(60)
  expect(bounds.fits(41)).toBe(false)
  bounds.add(40)
  expect(bounds.fits(0)).toBe(false)
})

it('holds a paced sender above half, and lets it go on below a quarter', async () => {
  const bounds = new PendingBounds({ messagesMax: 100, bytesMax: 1e9 })
  for (let i = 0; i < 50; i++) bounds.add(1)
  expect(bounds.ready()).toBeUndefined()
  bounds.add(1)
  let isReady = false
  const ready = bounds.ready()?.then(() => {
    isReady = true
  })
  bounds.remove(25, 25)
  await Promise.resolve()
  expect(isReady).toBe(false)
  expect(bounds.ready()).toBeDefined()
  bounds.remove(1, 1)
  await ready
  expect(isReady).toBe(true)
  expect(bounds.ready()).toBeUndefined()
})

it('tells when nothing is pending', async () => {
  const bounds = new PendingBounds({ messagesMax: 10, bytesMax: 10 })
  await bounds.idle()
  bounds.add(5)
  const idle = bounds.idle()
  bounds.remove(1, 5)
  await idle
  expect(bounds).toMatchObject({ messages: 0, bytes: 0 })
})
