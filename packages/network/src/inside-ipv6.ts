/** Of namespaces that another program may have had: Docker turns IPv6 off in those that it takes over. */
import { netnsPath, setNetnsSysctls } from '@skerry/host';

/** Errors: host_command_failed. */
export const turnOnIpv6 = (netns: string, signal: AbortSignal): Promise<void> =>
  setNetnsSysctls(netnsPath(netns), { 'net.ipv6.conf.eth0.disable_ipv6': '0' }, signal);
