import { render } from 'preact';
import { App } from './app.tsx';
import { startClock } from './lib/clock.ts';
import { startRouter } from './lib/router.ts';
import { startSession } from './lib/session.ts';
import { startTheme } from './lib/theme.ts';

startTheme();
startRouter();
startClock();
startSession();

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App />, root);
}

// Browsers register one only where they trust the certificate; without it all works but for opening offline.
navigator.serviceWorker?.register('./service-worker.js').catch(() => undefined);
