#!/usr/bin/env bash
# A disk that boots to an HTTP service: disk.sh ARCH KERNEL-PACKAGE OVERLAY OUT.qcow2. Everything is written into files: no
# loop device, no mount. First partition: FAT with kernel, initramfs and GRUB for UEFI; second: ext4, the root.
#   sector 0        GRUB's boot.img (amd64, BIOS) and the table of partitions
#   sector 1..2047  GRUB's core.img, where boot.img looks for it
#   1 MiB           FAT, marked 0xEF: UEFI finds EFI/BOOT/BOOTX64.EFI or BOOTAA64.EFI
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
arch=$1 package=$2 overlay=$(realpath "$3") out=$(realpath -m "$4")
FAT_MIB=${FAT_MIB:-40} ROOT_MIB=${ROOT_MIB:-24}
case $arch in
  amd64) console=ttyS0 efi=x86_64-efi efi_name=BOOTX64.EFI libs=x86_64-linux-gnu loader=lib64/ld-linux-x86-64.so.2 ;;
  arm64) console=ttyAMA0 efi=arm64-efi efi_name=BOOTAA64.EFI libs=aarch64-linux-gnu loader=lib/ld-linux-aarch64.so.1 ;;
  *) echo "disk.sh: no such architecture: $arch" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=0 MTOOLS_SKIP_CHECK=1

"$here/fetch.sh" "$arch" "$work/kernel" "$package"
"$here/fetch.sh" "$arch" "$work/user" busybox-static qemu-guest-agent libc6 libglib2.0-0 liburing2 libudev1 libpcre2-8-0 libnuma1 "grub-efi-$arch-bin"
[ "$arch" = amd64 ] && "$here/fetch.sh" "$arch" "$work/user" grub-pc-bin
applets() { mkdir -p "$1"; cp "$work/user/bin/busybox" "$1/busybox"; for name in $(cat "$here/applets"); do ln -s busybox "$1/$name"; done; }

# What reaches the disk, and nothing else: each MiB here is read by firmware.
first=$work/first
mkdir -p "$first"/{dev,disk,sbin}
applets "$first/bin"
cp "$here/initramfs-init" "$first/init"
"$here/modules.sh" "$work/kernel" "$first/modules" virtio_pci virtio_blk ext4
find "$first" -exec touch -h -d @0 {} +
(cd "$first" && find . | LC_ALL=C sort | cpio --reproducible -o -H newc --quiet -R 0:0) >"$work/initrd"
${INITRD_PACK:-cat} <"$work/initrd" >"$work/initrd.packed"

root=$work/root
mkdir -p "$root"/{dev,proc,sys,run,tmp,root,etc,sbin,usr/sbin,var/log}
cp -r "$here/rootfs/." "$root"
cp -r "$overlay/." "$root"
applets "$root/bin"
ln -s ../bin/busybox "$root/sbin/init"
ln -s ../run "$root/var/run"
"$here/modules.sh" "$work/kernel" "$root/modules/first" virtio_net
"$here/modules.sh" "$work/kernel" "$root/modules/later" virtio_console isofs vfat nls_cp437 nls_ascii evdev button virtio_balloon virtio-rng ${MORE_MODULES:-}
# The agent and the libraries that it names, from Debian's packages and none of the host's.
cp "$work/user/usr/sbin/qemu-ga" "$root/usr/sbin/"
mkdir -p "$root/${loader%/*}" "$root/lib/$libs"
cp -L "$work/user/lib/$libs/${loader##*/}" "$root/$loader"
need() {
  local name file
  for name in $(readelf -d "$1" | sed -n "s/.*(NEEDED).*\[\(.*\)\]/\1/p"); do
    [ -e "$root/lib/$libs/$name" ] && continue
    file=$(find "$work/user/lib/$libs" "$work/user/usr/lib/$libs" -maxdepth 1 -name "$name" | head -n 1)
    [ -n "$file" ] || { [ "$name" = "${loader##*/}" ] && continue; echo "disk.sh: nothing brings $name" >&2; exit 1; }
    cp -L "$file" "$root/lib/$libs/$name"
    need "$file"
  done
}
need "$root/usr/sbin/qemu-ga"
find "$root" -exec touch -h -d @0 {} +
chmod -R go+rX "$root"
truncate -s "${ROOT_MIB}M" "$work/ext4"
mke2fs -q -t ext4 -O ^metadata_csum,^64bit,^resize_inode -E root_owner=0:0,hash_seed=5ca1ab1e-0000-4000-8000-000000000001,lazy_itable_init=0 -m 0 -J size=4 \
  -U 5ca1ab1e-0000-4000-8000-000000000002 -L root -d "$root" "$work/ext4"

cat >"$work/grub.cfg" <<GRUB
linux (\$root)/vmlinuz console=$console quiet panic=-1 ${KERNEL_ARGS:-}
initrd (\$root)/initrd
boot
GRUB
{ echo 'search --no-floppy --file --set=root /vmlinuz'; cat "$work/grub.cfg"; } >"$work/grub-efi.cfg"
{ echo 'set root=(hd0,msdos1)'; cat "$work/grub.cfg"; } >"$work/grub-bios.cfg"
# efi_gop: the kernel gets the screen that the firmware has, if there is one
modules=(part_msdos fat linux boot search search_fs_file)
truncate -s "${FAT_MIB}M" "$work/fat"
mkfs.vfat -i 5ca1ab1e -n BOOT --invariant "$work/fat" >/dev/null
grub-mkimage -d "$work/user/usr/lib/grub/$efi" -O "$efi" -p / -c "$work/grub-efi.cfg" -o "$work/grub.efi" "${modules[@]}" efi_gop
touch -d @315532800 "$work/grub.efi" "$work/initrd.packed" "$work"/kernel/boot/vmlinuz-*
mmd -i "$work/fat" ::/EFI ::/EFI/BOOT
mcopy -m -i "$work/fat" "$work"/kernel/boot/vmlinuz-* ::/vmlinuz
mcopy -m -i "$work/fat" "$work/initrd.packed" ::/initrd
mcopy -m -i "$work/fat" "$work/grub.efi" "::/EFI/BOOT/$efi_name"

disk=$work/disk
truncate -s "$((1 + FAT_MIB + ROOT_MIB))M" "$disk"
# A number as four bytes, least first.
bytes4() { local n=$1 i; for i in 1 2 3 4; do printf "\\x$(printf %02x $((n & 255)))"; n=$((n >> 8)); done; }
{ # the table of partitions: flag, no cylinders, type, first sector, sectors
  bytes4 0x5ca1ab1e; printf '\0\0'
  printf '\x80\0\0\0\xef\0\0\0'; bytes4 2048; bytes4 $((FAT_MIB * 2048))
  printf '\0\0\0\0\x83\0\0\0'; bytes4 $((2048 + FAT_MIB * 2048)); bytes4 $((ROOT_MIB * 2048))
  head -c 32 /dev/zero; printf '\x55\xaa'
} | dd of="$disk" bs=1 seek=440 conv=notrunc status=none
put() { dd if="$1" of="$disk" bs=512 seek="$2" conv=notrunc,sparse status=none "${@:3}"; }
if [ "$arch" = amd64 ]; then
  grub-mkimage -d "$work/user/usr/lib/grub/i386-pc" -O i386-pc -p / -c "$work/grub-bios.cfg" -o "$work/core.img" biosdisk "${modules[@]}"
  [ "$(stat -c %s "$work/core.img")" -le $((2047 * 512)) ] || { echo 'disk.sh: core.img is too long for its gap' >&2; exit 1; }
  dd if="$work/user/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
  put "$work/core.img" 1
fi
put "$work/fat" 2048
put "$work/ext4" $((2048 + FAT_MIB * 2048))
mkdir -p "$(dirname "$out")"
qemu-img convert -f raw -O qcow2 "$disk" "$out.new"
if [ -n "${KEEP_BOOT:-}" ]; then # kernel and initramfs beside the disk, for starting them without firmware
  cp "$work"/kernel/boot/vmlinuz-* "$(dirname "$out")/vmlinuz"
  cp "$work/initrd.packed" "$(dirname "$out")/initrd"
fi
mv "$out.new" "$out"
