/**
 * QEMU as one starts it by hand: the machine options, kernel and function that Skerry uses, no supervisor, no monitor, no
 * limits. Its bridge and its tap are made beforehand and are not in the time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstAnswer, PEBBLE } from '../skerry.ts';
import { background, end } from './program.ts';
import { makeWire } from './wire.ts';

const NETWORK = '198.18.77'; // of the range for benchmarks, RFC 2544

export interface HandMade {
  /** Milliseconds from starting QEMU to the guest's first HTTP answer. */
  start(): Promise<number>;
  end(): Promise<void>;
}

export async function qemuByHand(functionPath: string): Promise<HandMade> {
  const folder = mkdtempSync(join(tmpdir(), 'skbench-'));
  const wire = await makeWire(NETWORK, folder, false);
  const command = [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', 'microvm,acpi=off,pit=off,pic=off,rtc=on,usb=off'],
    ...['-accel', 'tcg,thread=single,tb-size=4', '-cpu', 'max', '-m', '8M', '-smp', '1'],
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-kernel', PEBBLE, '-initrd', functionPath],
    ...['-append', `ip=${NETWORK}.2/24 gw=${NETWORK}.1 port=8080 name=hand`],
    ...['-serial', `file:${join(folder, 'console')}`],
    ...['-netdev', `tap,id=n0,ifname=${wire.tap},script=no,downscript=no`],
    ...['-device', 'virtio-net-device,netdev=n0,mac=02:53:0a:00:00:02'],
    ...['-device', 'isa-debug-exit,iobase=0x501,iosize=2'],
  ];
  return {
    async start() {
      await wire.forget();
      const begunMs = performance.now();
      const qemu = background('qemu-system-x86_64', command, join(folder, 'qemu.log'));
      try {
        return (await firstAnswer(`${NETWORK}.2`)) - begunMs;
      } finally {
        await end(qemu);
      }
    },
    async end() {
      await wire.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
