import * as z from 'zod';
import { defineVerb } from '../helper/verb.ts';
import { readDesktop, startDesktop, stopDesktop } from './session.ts';
import { desktopAccess, desktopView } from './view.ts';

const none = z.strictObject({});

export const desktopVerbs = {
  'desktop.state': defineVerb({
    summary: 'Reads whether the remote desktop runs',
    args: none,
    result: desktopView,
    changes: false,
    run: (system) => readDesktop(system),
  }),
  'desktop.start': defineVerb({
    summary: 'Starts the remote desktop, with a new password',
    args: none,
    result: desktopAccess,
    changes: true,
    run: (system) => startDesktop(system),
  }),
  'desktop.stop': defineVerb({
    summary: 'Ends the remote desktop',
    args: none,
    result: desktopView,
    changes: true,
    run: (system) => stopDesktop(system),
  }),
} as const;
