import { useEffect, useState } from 'preact/hooks';
import { Problem } from './lib/api.ts';
import { heard, listen, listenNow, stopListening, link as stream, watchLink } from './lib/live.ts';
import { forgetAll } from './lib/resource.ts';
import { link, route } from './lib/router.ts';
import { account, askWho, logOut, mayChange, me } from './lib/session.ts';
import { setTheme, type Theme, theme } from './lib/theme.ts';
import { Dialog } from './ui/dialog.tsx';
import { Icon, type IconName, Logo } from './ui/icon.tsx';
import { Button, Loading, Note, ProblemNote, Toasts, When } from './ui/parts.tsx';
import { AccountView } from './views/account.tsx';
import { AlertsView } from './views/alerts.tsx';
import { AuditView } from './views/audit.tsx';
import { BackupView } from './views/backup.tsx';
import { CertificatesView } from './views/certificates.tsx';
import { ChartsView } from './views/charts.tsx';
import { ComplianceView } from './views/compliance.tsx';
import { ConfigView } from './views/config.tsx';
import { ContainersView } from './views/containers.tsx';
import { DdnsView } from './views/ddns.tsx';
import { DesktopView } from './views/desktop.tsx';
import { ExtensionsView, useExtensions } from './views/extensions.tsx';
import { FirewallView } from './views/firewall.tsx';
import { ClaimView, LoginView } from './views/gate.tsx';
import { LogsView } from './views/logs.tsx';
import { OverviewView, useStatus } from './views/overview.tsx';
import { RouterView } from './views/router.tsx';
import { ServicesView } from './views/services.tsx';
import { TuningView } from './views/tuning.tsx';
import { UpdatesView } from './views/updates.tsx';
import { VpnView } from './views/vpn.tsx';

type View = {
  title: string;
  icon: IconName;
  show: () => preact.JSX.Element;
  /** Of no use to a viewer: the API answers admins only. */
  admin?: true;
  /** The part of the image that it shows; without that there is no such view. */
  stage?: string;
};

const views: { overview: View; [name: string]: View | undefined } = {
  overview: { title: 'Overview', icon: 'home', show: OverviewView },
  charts: { title: 'Charts', icon: 'chart', show: ChartsView },
  alerts: { title: 'Alerts', icon: 'bell', show: AlertsView },
  vpn: { title: 'VPN', icon: 'vpn', show: VpnView },
  firewall: { title: 'Firewall', icon: 'firewall', show: FirewallView },
  ddns: { title: 'Dynamic DNS', icon: 'globe', show: DdnsView },
  names: { title: 'Services by name', icon: 'key', show: CertificatesView, stage: 'proxy' },
  router: { title: 'Router', icon: 'forward', show: RouterView, stage: 'portmap' },
  tuning: { title: 'Network tuning', icon: 'net', show: TuningView, stage: 'tuning' },
  desktop: { title: 'Remote desktop', icon: 'phone', show: DesktopView, stage: 'desktop' },
  services: { title: 'Services', icon: 'services', show: ServicesView },
  updates: { title: 'Updates', icon: 'update', show: UpdatesView },
  containers: {
    title: 'Apps in containers',
    icon: 'table',
    show: ContainersView,
    stage: 'containers',
  },
  extensions: { title: 'Extensions', icon: 'add', show: ExtensionsView },
  backup: { title: 'Backups', icon: 'disk', show: BackupView, stage: 'backup' },
  config: { title: 'Configuration', icon: 'config', show: ConfigView, admin: true },
  logs: { title: 'Logs', icon: 'log', show: LogsView, admin: true },
  compliance: { title: 'Compliance', icon: 'compliance', show: ComplianceView },
  audit: { title: 'Audit log', icon: 'audit', show: AuditView, admin: true },
  account: { title: 'Account', icon: 'account', show: AccountView },
};

const groups: readonly (readonly [string, readonly string[]])[] = [
  ['At a glance', ['overview', 'charts', 'alerts']],
  ['Network', ['vpn', 'firewall', 'ddns', 'router', 'tuning', 'desktop', 'names']],
  ['Device', ['services', 'containers', 'updates', 'backup', 'extensions', 'config', 'logs']],
  ['Security', ['compliance', 'audit', 'account']],
];

const tabs = ['overview', 'vpn', 'charts', 'services'];

export function App() {
  const [problem, setProblem] = useState<Problem | undefined>(undefined);
  const ask = async () => {
    try {
      await askWho();
      setProblem(undefined);
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(String(error)));
    }
  };
  useEffect(() => void ask(), []);
  // While the gateway starts, its page may be there before it answers.
  useEffect(() => {
    if (!problem) return;
    const timer = setInterval(ask, 5000);
    return () => clearInterval(timer);
  });
  if (!me.value)
    return (
      <main class="gate">
        <div class="card">
          <span class="brand">
            <Logo />
            Pi Gateway
          </span>
          <h1 class="hidden">Pi Gateway</h1>
          {problem ? <ProblemNote problem={problem} /> : <Loading />}
          {problem && (
            <Button icon="update" onClick={ask}>
              Try again
            </Button>
          )}
        </div>
      </main>
    );
  if (!me.value.claimed) return <ClaimView />;
  if (!account.value) return <LoginView />;
  return <Frame key={account.value.name} />;
}

function Frame() {
  useEffect(() => {
    listen();
    // A phone that wakes up has lost the stream, and learns of it late.
    const wake = () => {
      if (document.visibilityState === 'visible') listenNow();
    };
    // A stream that fails says nothing of why: the session may be over, too.
    const watch = setInterval(() => {
      if (stream.peek() === 'lost') askWho().catch(() => undefined);
      else void watchLink(askWho);
    }, 5000);
    document.addEventListener('visibilitychange', wake);
    addEventListener('online', wake);
    return () => {
      clearInterval(watch);
      document.removeEventListener('visibilitychange', wake);
      removeEventListener('online', wake);
      stopListening();
      forgetAll();
    };
  }, []);
  const [more, setMore] = useState(false);
  const { view } = route.value;
  const shown = views[view] ?? views.overview;
  const Shown = shown?.show ?? OverviewView;
  const allowed = !shown?.admin || mayChange.value;
  useEffect(() => {
    setMore(false);
    scrollTo(0, 0);
  }, [view]);
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to content
      </button>
      <div class="frame">
        <nav class="side" aria-label="Views">
          <Brand />
          <Groups />
        </nav>
        <div>
          <header class="top">
            <Brand />
            <LinkState />
            <ThemeButton />
          </header>
          <main class="view" id="main" tabIndex={-1}>
            <Lost />
            {allowed ? <Shown key={view} /> : <Note>Only admins see this.</Note>}
          </main>
        </div>
        <nav class="tabs" aria-label="Main views">
          {tabs.map((name) => (
            <a key={name} href={link(name)} aria-current={view === name ? 'page' : undefined}>
              <Icon name={views[name]?.icon ?? 'home'} />
              {views[name]?.title}
            </a>
          ))}
          <button
            type="button"
            aria-haspopup="dialog"
            aria-current={tabs.includes(view) ? undefined : 'page'}
            onClick={() => setMore(true)}
          >
            <Icon name="more" />
            More
            <AlertCount />
          </button>
        </nav>
      </div>
      {more && (
        <Dialog title="All views" onClose={() => setMore(false)} light>
          <nav aria-label="All views">
            <Groups />
          </nav>
        </Dialog>
      )}
      <Toasts />
    </>
  );
}

function Brand() {
  const name = useStatus().data.value?.name;
  return (
    <a class="brand" href={link('overview')} aria-label={`${name ?? 'Pi Gateway'}, overview`}>
      <Logo />
      <span class="clip">{name ?? 'Pi Gateway'}</span>
    </a>
  );
}

function Groups() {
  const { view } = route.value;
  const stages = useStatus().data.value?.stages ?? [];
  const hasExtensions = (useExtensions().data.value?.extensions.length ?? 0) > 0;
  return (
    <>
      {groups.map(([title, names]) => (
        <div class="nav-group" key={title}>
          <h2>{title}</h2>
          {names
            .filter((name) => mayChange.value || !views[name]?.admin)
            .filter((name) => name !== 'extensions' || hasExtensions)
            .filter((name) => stages.includes(views[name]?.stage ?? '') || !views[name]?.stage)
            .map((name) => (
              <a key={name} href={link(name)} aria-current={view === name ? 'page' : undefined}>
                <Icon name={views[name]?.icon ?? 'home'} />
                {views[name]?.title}
                {name === 'alerts' && <AlertCount />}
              </a>
            ))}
        </div>
      ))}
      <div class="nav-group">
        <h2>{account.value?.name}</h2>
        <div class="buttons">
          <Button kind="bare" icon="out" onClick={logOut}>
            Log out
          </Button>
        </div>
      </div>
    </>
  );
}

function AlertCount() {
  const alerts = useStatus().data.value?.alerts;
  const count = (alerts?.critical ?? 0) + (alerts?.warning ?? 0);
  return count === 0 ? null : (
    <span class="pill">
      {count}
      <span class="hidden"> active alerts</span>
    </span>
  );
}

function LinkState() {
  const words = {
    off: 'Not connected',
    connecting: 'Connecting',
    live: 'Live',
    lost: 'Reconnecting',
  };
  const dots = { off: '', connecting: '', live: 'ok live', lost: 'warning' };
  return (
    <span class="link-state" role="status">
      <span class={`dot ${dots[stream.value]}`} aria-hidden="true" />
      {words[stream.value]}
    </span>
  );
}

/** That what is shown is old is said where it is looked at; a short gap is no news. */
function Lost() {
  const [long, setLong] = useState(false);
  const lost = stream.value === 'lost';
  useEffect(() => {
    if (!lost) return setLong(false);
    const timer = setTimeout(() => setLong(true), 4000);
    return () => clearTimeout(timer);
  }, [lost]);
  if (!long) return null;
  return (
    <Note state="warning">
      <strong>No connection to the gateway</strong>
      <span>
        What is shown is from <When at={heard.value || null} never="an earlier visit" />. It is
        tried again and again; a gateway that starts takes about a minute.
      </span>
      <span class="buttons">
        <Button icon="update" onClick={listenNow}>
          Try now
        </Button>
      </span>
    </Note>
  );
}

const nextTheme: Record<Theme, { next: Theme; icon: IconName; words: string }> = {
  auto: { next: 'light', icon: 'auto', words: 'Colours: as the system has them' },
  light: { next: 'dark', icon: 'sun', words: 'Colours: light' },
  dark: { next: 'auto', icon: 'moon', words: 'Colours: dark' },
};

function ThemeButton() {
  const { next, icon, words } = nextTheme[theme.value];
  return (
    <Button kind="bare" square icon={icon} onClick={() => setTheme(next)}>
      {words}
    </Button>
  );
}
