/** Frames that no kernel would send, from a namespace whose guest means harm: written byte by byte (RFC 8200, RFC 4861). */
import { ipv6Hex } from '@skerry/model';
import { inside } from './bed.ts';

const hex = (value: number, bytes: number): string => value.toString(16).padStart(bytes * 2, '0');
const macHex = (mac: string): string => mac.replaceAll(':', '');

function checksum(text: string): number {
  let sum = 0;
  for (let at = 0; at < text.length; at += 4)
    sum += Number.parseInt(text.slice(at, at + 4).padEnd(4, '0'), 16);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

export interface Icmp6 {
  readonly from: string;
  readonly to: string;
  readonly mac: string;
  readonly toMac: string;
  readonly type: number;
  /** Of the message, in hex: what comes after its checksum. */
  readonly body: string;
  /** Header of options before the message, as one that hides what it is (RFC 7113). */
  readonly hidden?: boolean;
  /** Header of a fragment that is the whole. */
  readonly fragment?: boolean;
}

export function icmp6Frame({ from, to, mac, toMac, type, body, hidden, fragment }: Icmp6): string {
  const [source, target] = [ipv6Hex(from), ipv6Hex(to)];
  const length = 4 + body.length / 2;
  const message = (sum: number) => `${hex(type, 1)}00${hex(sum, 2)}${body}`;
  const sum = checksum(`${source}${target}${hex(length, 4)}0000003a${message(0)}`);
  const option = hidden ? `3a00010400000000` : ''; // a PadN of four bytes
  const piece = fragment ? `3a00000012345678` : '';
  const first = hidden ? '3c' : fragment ? '2c' : '3a';
  const size = hex(length + (option + piece).length / 2, 2);
  return `${macHex(toMac)}${macHex(mac)}86dd60000000${size}${first}ff${source}${target}${option}${piece}${message(sum)}`;
}

const SEND = `
socket(my $s, 17, 3, 0) or die $!; # AF_PACKET, SOCK_RAW (packet(7))
open(my $f, "/sys/class/net/eth0/ifindex") or die $!;
my $to = pack("SnlSCCx8", 17, 0x86dd, <$f> + 0, 0, 0, 6);
for (@ARGV) { defined(send($s, pack("H*", $_), 0, $to)) or die $!; }
`;

/** Sends frames out of the guest's interface as they are. */
export async function sendFrames(netns: string, ...frames: string[]): Promise<void> {
  const { code, stderr } = await inside(netns, 'perl', '-e', SEND, ...frames);
  if (code !== 0) throw new Error(`the frames were not sent: ${stderr}`);
}
