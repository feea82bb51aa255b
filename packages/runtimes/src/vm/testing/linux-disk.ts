/**
 * A disk with a real Linux, for tests: Debian's cloud kernel, BusyBox and QEMU's guest agent in an initramfs, started by
 * GRUB from a BIOS or from UEFI. Made from Debian's packages, kept in build/ for the next time.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KEPT = fileURLToPath(new URL('../../../build/linux-disk.img', import.meta.url));
const MiB = 1024 * 1024;
const DISK_BYTES = 40 * MiB;
const PARTITION_AT = MiB;
const MODULES = [
  ...['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_balloon', 'virtio-rng'],
  ...['isofs', 'evdev', 'button'],
];

/** Tells on its console what it finds, then serves the agent and the power button. */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
mdev -s 2>/dev/null
mkdir -p /seed /run /var/run /dev/virtio-ports
for block in /sys/block/vd*; do
  serial=$(cat $block/serial); device=/dev/$(basename $block)
  echo "disk $serial $(cat $block/size) ro=$(cat $block/ro)"
  case $serial in
    cidata) mount -t iso9660 -o ro $device /seed && for file in meta-data user-data network-config; do
        sed "s/^/seed $file: /" /seed/$file; echo; done;;
    disk) ;;
    *) echo "volume $serial says $(head -n 1 $device)"
       [ $(cat $block/ro) = 0 ] && echo "written inside" | dd of=$device bs=512 seek=1 conv=sync,fsync 2>/dev/null;;
  esac
done
[ -e /sys/class/tpm/tpm0 ] && echo "tpm $(cat /sys/class/tpm/tpm0/tpm_version_major)"
[ -d /sys/firmware/efi ] && echo "firmware uefi" || echo "firmware bios"
for port in /sys/class/virtio-ports/*; do ln -s ../$(basename $port) /dev/virtio-ports/$(cat $port/name); done
qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run -f /run/ga.pid </dev/null >/dev/null 2>&1 &
mkdir -p /etc/acpi/PWRF
printf '#!/bin/sh\necho "power button" > /dev/ttyS0\nsleep 0.2\npoweroff -f\n' > /etc/acpi/PWRF/00000080; chmod +x /etc/acpi/PWRF/00000080
acpid -d 2>/dev/null &
echo "linux is up with $(nproc) cpus, $(sed -n 's/MemTotal: *//p' /proc/meminfo)"
exec setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'
`;

const GRUB = `serial --unit=0 --speed=115200
terminal_output serial
linux (hd0,msdos1)/vmlinuz console=ttyS0 quiet tsc=unstable panic=-1
initrd (hd0,msdos1)/initrd
boot
`;

const run = (program: string, args: readonly string[], input?: Buffer) =>
  execFileSync(program, args, { input, stdio: ['pipe', 'pipe', 'pipe'], maxBuffer: 256 * MiB });

/** Downloads and unpacks a Debian package; also from apt's cache. */
function unpack(name: string, folder: string): void {
  const from = join(folder, 'deb');
  mkdirSync(from, { recursive: true });
  execFileSync('apt-get', ['download', '-q', name], { cwd: from, stdio: 'pipe' });
  for (const file of readdirSync(from)) run('dpkg-deb', ['-x', join(from, file), folder]);
  rmSync(from, { recursive: true });
}

function kernelPackage(): string {
  const about = run('apt-cache', ['depends', 'linux-image-cloud-amd64']).toString();
  return /Depends: (linux-image-\S+)/.exec(about)![1]!;
}

/** The files of the modules and of all that they need, in the order of loading. */
function modulesInOrder(root: string): string[] {
  const all = new Map(
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ko'))
      .map((path) => [basename(path, '.ko').replaceAll('-', '_'), join(root, path)]),
  );
  const order: string[] = [];
  const add = (name: string) => {
    const path = all.get(name.replaceAll('-', '_'));
    if (path === undefined || order.includes(path)) return;
    const needs = /\0depends=([^\0]*)\0/.exec(readFileSync(path, 'latin1'))?.[1] ?? '';
    for (const need of needs.split(',')) if (need) add(need);
    order.push(path);
  };
  for (const name of MODULES) add(name);
  return order;
}

function initramfs(work: string): Buffer {
  const root = join(work, 'root');
  for (const folder of ['bin', 'modules', 'proc', 'sys', 'dev', 'etc', 'tmp'])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'init'), INIT, { mode: 0o755 });
  cpSync('/bin/busybox', join(root, 'bin/busybox'));
  const modules = modulesInOrder(join(work, 'kernel/lib/modules'));
  for (const path of modules) cpSync(path, join(root, 'modules', basename(path)));
  writeFileSync(join(root, 'modules/order'), modules.map((path) => basename(path)).join('\n'));
  const agent = join(work, 'agent/usr/sbin/qemu-ga');
  cpSync(agent, join(root, 'bin/qemu-ga'));
  for (const [, path] of run('ldd', [agent])
    .toString()
    .matchAll(/(\/lib\S+) \(/g)) {
    mkdirSync(join(root, dirname(path!)), { recursive: true });
    cpSync(path!, join(root, path!), { dereference: true });
  }
  const names = run('find', [root, '-printf', '%P\n']);
  return execFileSync('cpio', ['-o', '-H', 'newc', '--quiet', '-R', '0:0', '-D', root], {
    ...{ input: names, stdio: ['pipe', 'pipe', 'pipe'], maxBuffer: 256 * MiB },
  });
}

/** One partition of FAT, marked as UEFI's; GRUB's BIOS image in the gap before it, where its first sector expects it. */
function assemble(work: string, kernel: Buffer, initrd: Buffer): Buffer {
  const at = (name: string) => join(work, name);
  writeFileSync(at('grub.cfg'), GRUB);
  const image = (format: string, name: string, more: readonly string[]) =>
    run('grub-mkimage', [
      ...['-O', format, '-p', '/', '-c', at('grub.cfg'), '-o', at(name)],
      ...['part_msdos', 'fat', 'linux', 'serial', 'terminal', 'normal', 'boot', ...more],
    ]);
  image('i386-pc', 'core.img', ['biosdisk']);
  image('x86_64-efi', 'grub.efi', []);
  writeFileSync(at('kernel.bin'), kernel);
  writeFileSync(at('initrd.bin'), initrd);
  writeFileSync(at('fat'), Buffer.alloc(DISK_BYTES - PARTITION_AT));
  run('mkfs.vfat', ['-n', 'LINUX', at('fat')]);
  run('mmd', ['-i', at('fat'), '::/EFI', '::/EFI/BOOT']);
  run('mcopy', ['-i', at('fat'), at('kernel.bin'), '::/vmlinuz']);
  run('mcopy', ['-i', at('fat'), at('initrd.bin'), '::/initrd']);
  run('mcopy', ['-i', at('fat'), at('grub.efi'), '::/EFI/BOOT/BOOTX64.EFI']);
  const disk = Buffer.alloc(DISK_BYTES);
  readFileSync('/usr/lib/grub/i386-pc/boot.img').copy(disk, 0, 0, 440);
  readFileSync(at('core.img')).copy(disk, 512);
  readFileSync(at('fat')).copy(disk, PARTITION_AT);
  disk.writeUInt8(0x80, 446);
  disk.writeUInt8(0xef, 446 + 4);
  disk.writeUInt32LE(PARTITION_AT / 512, 446 + 8);
  disk.writeUInt32LE((DISK_BYTES - PARTITION_AT) / 512, 446 + 12);
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
}

/** A raw disk that boots in some seconds, or why it can't be made here. */
export function linuxDisk(): Buffer | { readonly missing: string } {
  if (existsSync(KEPT)) return readFileSync(KEPT);
  const work = mkdtempSync(join(tmpdir(), 'skerry-linux-'));
  try {
    unpack(kernelPackage(), join(work, 'kernel'));
    unpack('qemu-guest-agent', join(work, 'agent'));
    const boot = join(work, 'kernel/boot');
    const kernel = readdirSync(boot).find((name) => name.startsWith('vmlinuz'))!;
    const disk = assemble(work, readFileSync(join(boot, kernel)), initramfs(work));
    mkdirSync(dirname(KEPT), { recursive: true });
    writeFileSync(`${KEPT}.new`, disk);
    renameSync(`${KEPT}.new`, KEPT);
    return disk;
  } catch (error) {
    return { missing: `no Linux could be made from Debian's packages: ${(error as Error).message}` };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
