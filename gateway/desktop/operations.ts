import { defineOperation } from '../api/operation.ts';
import { desktopAccess, desktopView } from './view.ts';

const desktopGet = defineOperation({
  id: 'desktopGet',
  method: 'get',
  path: '/desktop',
  area: 'desktop',
  summary: 'Whether the remote desktop runs, and where VPN clients find it',
  role: 'viewer',
  response: desktopView,
  run: (context) => context.call('desktop.state', {}),
});

const desktopStart = defineOperation({
  id: 'desktopStart',
  method: 'post',
  path: '/desktop/start',
  area: 'desktop',
  summary:
    'Starts the remote desktop with a new password, which is in this answer alone; one that runs ends',
  role: 'admin',
  response: desktopAccess,
  run: (context) => context.call('desktop.start', {}),
});

const desktopStop = defineOperation({
  id: 'desktopStop',
  method: 'post',
  path: '/desktop/stop',
  area: 'desktop',
  summary: 'Ends the remote desktop',
  role: 'admin',
  response: desktopView,
  run: (context) => context.call('desktop.stop', {}),
});

export const desktopOperations = [desktopGet, desktopStart, desktopStop] as const;
