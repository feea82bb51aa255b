/** The part of the route table that is about devices and streams. */
import type { RouteDefinition } from './route-definition.ts';

const DEVICES = '/v1/projects/{project}/devices';
const STREAMS = '/v1/projects/{project}/streams';

export const DEVICE_ROUTES = {
  'device.list': { method: 'GET', path: DEVICES, summary: 'Lists devices', answer: 'json', watch: true },
  'device.show': { method: 'GET', path: `${DEVICES}/{name}`, summary: 'One device', answer: 'json' },
  'device.create': {
    method: 'POST',
    path: DEVICES,
    summary: 'Makes a device and what it proves itself with, which is answered this once',
    answer: 'json',
    status: 201,
  },
  'device.put': {
    method: 'PUT',
    path: `${DEVICES}/{name}`,
    summary: 'Makes or changes a device; a new one has nothing to prove itself with until that is made',
    answer: 'json',
    conditional: true,
  },
  'device.patch': {
    method: 'PATCH',
    path: `${DEVICES}/{name}`,
    summary: 'Changes a device by a JSON merge patch (RFC 7396)',
    answer: 'json',
    conditional: true,
  },
  'device.delete': {
    method: 'DELETE',
    path: `${DEVICES}/{name}`,
    summary: 'Deletes a device: its connections end',
    answer: 'json',
    conditional: true,
  },
  'device.rotate': {
    method: 'POST',
    path: `${DEVICES}/{name}/credentials`,
    summary:
      'Makes anew what a device proves itself with, and answers it this once; the former counts no more',
    answer: 'json',
  },
  'device.shadow': {
    method: 'GET',
    path: `${DEVICES}/{name}/shadow`,
    summary: 'What is wished of a device, what it reported, and what differs',
    answer: 'json',
  },
  'device.desire': {
    method: 'PATCH',
    path: `${DEVICES}/{name}/shadow`,
    summary: 'Changes what is wished of a device by a JSON merge patch (RFC 7396), also while it is away',
    answer: 'json',
    conditional: true,
  },

  'stream.list': { method: 'GET', path: STREAMS, summary: 'Lists streams', answer: 'json', watch: true },
  'stream.show': { method: 'GET', path: `${STREAMS}/{name}`, summary: 'One stream', answer: 'json' },
  'stream.put': {
    method: 'PUT',
    path: `${STREAMS}/{name}`,
    summary: 'Makes or changes a stream; passwords and tokens that are left out stay',
    answer: 'json',
    conditional: true,
  },
  'stream.patch': {
    method: 'PATCH',
    path: `${STREAMS}/{name}`,
    summary: 'Changes a stream by a JSON merge patch (RFC 7396)',
    answer: 'json',
    conditional: true,
  },
  'stream.delete': {
    method: 'DELETE',
    path: `${STREAMS}/{name}`,
    summary: 'Deletes a stream that no other one sends to',
    answer: 'json',
    conditional: true,
  },
  'stream.tail': {
    method: 'GET',
    path: `${STREAMS}/{name}/tail`,
    summary: 'Messages as they pass each step of a stream, of all nodes, from now on',
    answer: 'lines',
  },
} as const satisfies Record<string, RouteDefinition>;
