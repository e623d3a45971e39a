import { describe, expect, it } from 'vitest'

import { BatchPolicy } from './batch-policy.ts'

describe('BatchPolicy', () => {
  it('batches what queues on one key or a few', () => {
    const policy = new BatchPolicy(true)
    expect(policy.sizeOf(15, 1, 0)).toBe(1)
    expect(policy.sizeOf(30, 1, 0)).toBe(30)
    expect(policy.sizeOf(100, 3, 0)).toBe(100)
  })

  it('sends one by one where many keys fill the pipe', () => {
    const policy = new BatchPolicy(true)
    expect(policy.sizeOf(100, 100, 0)).toBe(1)
    expect(policy.sizeOf(255, 1000, 0)).toBe(1)
  })

  it('batches a deep queue beside any number of neighbours, up to what a batch takes', () => {
    const policy = new BatchPolicy(true)
    expect(policy.sizeOf(256, 10_000, 0)).toBe(256)
    expect(policy.sizeOf(5000, 10_000, 0)).toBe(1000)
  })

  it('batches sooner where a round trip is long, and forgets that when nothing confirms it', () => {
    const policy = new BatchPolicy(true)
    expect(policy.sizeOf(50, 20, 0)).toBe(1)
    for (let nowMs = 0; nowMs <= 3000; nowMs += 100) policy.observe(policy.onLaunched(1), 10, nowMs)
    expect(policy.sizeOf(50, 20, 3000)).toBe(50)
    for (let nowMs = 4000; nowMs < 40_000; nowMs += 1000) policy.sizeOf(50, 20, nowMs)
    expect(policy.sizeOf(50, 20, 40_000)).toBe(1)
  })

  it('learns nothing from a message that shared the way with a batch', () => {
    const policy = new BatchPolicy(true)
    for (let nowMs = 0; nowMs <= 3000; nowMs += 100) {
      const before = policy.onLaunched(1)
      const batch = policy.onLaunched(100)
      policy.observe(before, 50, nowMs)
      policy.observe(batch, 50, nowMs)
      policy.observe(policy.onLaunched(1), 50, nowMs)
      policy.onLanded(100)
    }
    expect(policy.sizeOf(50, 20, 3000)).toBe(1)
  })

  it('has a few batches in flight at a time, and none when switched off', () => {
    const policy = new BatchPolicy(true)
    for (let i = 0; i < 8; i++) policy.onLaunched(500)
    expect(policy.sizeOf(500, 1, 0)).toBe(1)
    policy.onLanded(500)
    expect(policy.sizeOf(500, 1, 0)).toBe(500)
    policy.disable()
    expect(policy.sizeOf(500, 1, 0)).toBe(1)
  })
})
