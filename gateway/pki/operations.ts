import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { certificateName } from './store.ts';
import {
  certificate,
  certificateList,
  handedClient,
  newClient,
  newServer,
  newSigned,
  revocation,
  serial,
  trust,
} from './view.ts';

const list = defineOperation({
  id: 'certificateList',
  method: 'get',
  path: '/certificates',
  area: 'certificates',
  summary: "Certificates of the gateway's own CA",
  role: 'viewer',
  query: z.strictObject({
    all: z
      .enum(['true', 'false'])
      .default('false')
      .describe('Also those that are over or replaced'),
  }),
  response: certificateList,
  run: (context, { query }) => context.call('certificate.list', { all: query.all === 'true' }),
});

const getTrust = defineOperation({
  id: 'certificateTrust',
  method: 'get',
  path: '/certificates/trust',
  area: 'certificates',
  summary: "The CA's root, and how devices come to trust it",
  role: 'viewer',
  response: trust,
  run: (context) => context.call('certificate.trust', {}),
});

const issue = defineOperation({
  id: 'certificateIssue',
  method: 'post',
  path: '/certificates/servers',
  area: 'certificates',
  summary: 'Issues a certificate with a key for a server in your networks; renewed by itself',
  role: 'admin',
  body: newServer,
  response: certificate,
  status: 201,
  run: (context, { body }) => context.call('certificate.issue', body),
});

const sign = defineOperation({
  id: 'certificateSign',
  method: 'post',
  path: '/certificates/requests',
  area: 'certificates',
  summary: "Issues a certificate by a server's own request (PKCS#10)",
  role: 'admin',
  body: newSigned,
  response: z.object({ certificate, pem: z.string().describe('With its chain') }),
  status: 201,
  run: (context, { body }) => context.call('certificate.sign', body),
});

const client = defineOperation({
  id: 'certificateClient',
  method: 'post',
  path: '/certificates/clients',
  area: 'certificates',
  summary: "Issues a certificate for a person's device, with its key as PKCS#12",
  role: 'admin',
  body: newClient,
  response: handedClient,
  status: 201,
  run: (context, { body }) => context.call('certificate.client', body),
});

const renew = defineOperation({
  id: 'certificateRenew',
  method: 'post',
  path: '/certificates/servers/{name}/renew',
  area: 'certificates',
  summary: 'Renews a certificate now, with a new key',
  role: 'admin',
  params: z.object({ name: certificateName }),
  response: certificate,
  run: (context, { params }) => context.call('certificate.renew', params),
});

const exportServer = defineOperation({
  id: 'certificateExport',
  method: 'post',
  path: '/certificates/servers/{name}/export',
  area: 'certificates',
  summary: "A server's certificate with its key and chain, to be taken there",
  role: 'admin',
  params: z.object({ name: certificateName }),
  response: z.object({ pem: z.string() }),
  run: (context, { params }) => context.call('certificate.export', params),
});

const revoke = defineOperation({
  id: 'certificateRevoke',
  method: 'post',
  path: '/certificates/{serial}/revoke',
  area: 'certificates',
  summary: 'Revokes a certificate; the proxy refuses it at once',
  role: 'admin',
  params: z.object({ serial }),
  body: revocation,
  response: certificate,
  run: (context, { params, body }) => context.call('certificate.revoke', { ...params, ...body }),
});

export const certificateOperations = [
  list,
  getTrust,
  issue,
  sign,
  client,
  renew,
  exportServer,
  revoke,
] as const;
