/**
 * Gives a prepared interface to a network namespace that a process has of its own: for engines that make the namespace
 * themselves, and for guests whose user namespace must own it. Afterwards the attachment's name leads to that namespace, so
 * whoever looks for the guest's interface finds it as before, and detaching it leaves nothing.
 */
import { ipBatch, isInNetns, netnsExists } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { turnOnIpv6 } from './inside-ipv6.ts';
import { insideLines } from './linux-links.ts';
import type { Attachment } from './port.ts';

type NetnsAttachment = Extract<Attachment, { kind: 'netns' }>;

/** `pid`: a process in the namespace. May be repeated after it was cut off at any line. Errors: host_command_failed. */
export async function handOverNetns(
  attachment: NetnsAttachment,
  pid: number,
  signal: AbortSignal,
): Promise<void> {
  const { netns, address } = attachment;
  const refuse = (text: string) =>
    new SkerryError('host_command_failed', `the interface of ${address} could not be handed over: ${text}`);
  if (!isInNetns(netns, pid)) {
    if (netnsExists(netns)) {
      const [moved] = await ipBatch([`link set dev eth0 netns ${pid}`], signal, netns);
      // It was moved before, and only the name leads elsewhere: below it shows whether that is so.
      if (moved && !moved.text.includes('Cannot find device')) throw refuse(moved.text);
    }
    const lines = [`netns attach ${netns} ${pid}`];
    if (netnsExists(netns)) lines.unshift(`netns delete ${netns}`);
    const [named] = await ipBatch(lines, signal);
    if (named) throw refuse(named.text);
  }
  if (attachment.v6) await turnOnIpv6(netns, signal);
  const [set] = await ipBatch(insideLines(attachment), signal, netns);
  if (set) throw refuse(set.text);
}
