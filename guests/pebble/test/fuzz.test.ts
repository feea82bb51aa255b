import { beforeAll, expect, test } from 'vitest';
import { fuzz } from './fuzz.ts';
import { buildImage, Guest, type Machine } from './guest.ts';
import { fetchOnce } from './http-client.ts';
import { thermo } from './lower.ts';

/** Set PEBBLE_FUZZ_SECONDS for more (an hour: 3600), PEBBLE_FUZZ_SEED for other frames, PEBBLE_FUZZ_MACHINE for q35. */
const seconds = Number(process.env.PEBBLE_FUZZ_SECONDS ?? 60);
const seed = Number(process.env.PEBBLE_FUZZ_SEED ?? 20_261_123);
const machine = (process.env.PEBBLE_FUZZ_MACHINE ?? 'microvm') as Machine;

beforeAll(buildImage);

test(
  `after ${seconds} s of damaged and hostile frames (seed ${seed}) the guest answers as before`,
  async () => {
    const guest = await Guest.boot({ source: thermo(), machine });
    try {
      const result = await fuzz(guest, seed, seconds);
      console.log(
        `${result.frames} frames in ${result.rounds} rounds; ${result.buffersLeft} bytes of network memory in use afterwards`,
      );
      expect(result.frames).toBeGreaterThan(1000);
      await guest.peer.ping(Buffer.from('alive'), 4242);
      expect((await fetchOnce(guest.peer, '/readings', { body: '{"temp":20}' })).status).toBe(200);
      expect(guest.console).not.toMatch(/fault|heap restarted|^EXIT/m);
    } finally {
      await guest.dispose();
    }
  },
  (seconds + 60) * 1000,
);
