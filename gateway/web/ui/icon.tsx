/** Drawn for this page, on a grid of 24. */
const paths = {
  home: 'M4 11.5 12 4l8 7.5V19a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 19zM10 20.5V14h4v6.5',
  chart: 'M4 4v15.5h16.5M8 15l3.5-4.5 3 2.5L20 7',
  services: 'M5 4.5h14v6H5zM5 13.5h14v6H5zM8.5 7.5h.01M8.5 16.5h.01M12 7.5h4M12 16.5h4',
  vpn: 'M12 3.5 19 6v5.5c0 4.4-2.9 7.4-7 9-4.1-1.6-7-4.6-7-9V6zM12 10.5v3.5M10.4 9a1.6 1.6 0 1 1 3.2 0 1.6 1.6 0 0 1-3.2 0z',
  firewall: 'M4 5h16v14H4zM4 9.7h16M4 14.3h16M9.3 5v4.7M14.7 9.7v4.6M9.3 14.3V19',
  globe:
    'M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM3.5 12h17M12 3.5c5 5 5 12 0 17M12 3.5c-5 5-5 12 0 17',
  update: 'M19.5 12a7.5 7.5 0 1 1-2.4-5.5M19.5 3.5V8H15',
  bell: 'M6 16.5V11a6 6 0 0 1 12 0v5.5l1.5 1.5h-15zM10 20.5h4',
  log: 'M5 5.5h14M5 10h14M5 14.5h9M5 19h6',
  config: 'M4.5 7h8M17.5 7h2M4.5 17h2M11.5 17h8M15 4.8v4.4M9 14.8v4.4',
  compliance: 'M8.5 4.5h7v3h-7zM8.5 6H6v14h12V6h-2.5M9 13.5l2.2 2.2L15.2 11',
  account: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c.8-3.6 3.8-5.5 7.5-5.5s6.7 1.9 7.5 5.5',
  audit: 'M12 4a8 8 0 1 1-7.4 5M4 4.5V9h4.5M12 8v4.3l3 1.9',
  more: 'M4 12a1.3 1.3 0 1 1 2.6 0 1.3 1.3 0 0 1-2.6 0zM10.7 12a1.3 1.3 0 1 1 2.6 0 1.3 1.3 0 0 1-2.6 0zM17.4 12a1.3 1.3 0 1 1 2.6 0 1.3 1.3 0 0 1-2.6 0z',
  ok: 'M5 12.5 10 17.5 19.5 7',
  warning: 'M12 4 21 19.5H3zM12 10v4.5M12 17.2h.01',
  failed: 'M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM9 9l6 6M15 9l-6 6',
  unknown:
    'M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM9.6 9.6a2.4 2.4 0 1 1 3.4 2.2c-.7.3-1 .8-1 1.7M12 16.5h.01',
  info: 'M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM12 11v5M12 8h.01',
  close: 'M6 6l12 12M18 6 6 18',
  add: 'M12 5v14M5 12h14',
  search: 'M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.3 15.3 20 20',
  sun: 'M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  moon: 'M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z',
  auto: 'M12 3.5a8.5 8.5 0 1 1 0 17zM12 3.5a8.5 8.5 0 1 0 0 17',
  download: 'M12 4v11M7 10.5l5 5 5-5M5 20h14',
  copy: 'M9 9h10v11H9zM6 15H5V4h10v2',
  trash: 'M5 7h14M10 4h4M7 7l.8 13h8.4L17 7M10.3 11v5M13.7 11v5',
  rotate: 'M5 10a7.3 7.3 0 0 1 13-2.5M19 4v4h-4M19 14a7.3 7.3 0 0 1-13 2.5M5 20v-4h4',
  pause: 'M8.5 6v12M15.5 6v12',
  play: 'M8 5.5v13l10.5-6.5z',
  edit: 'M5 19l1-4L15.5 5.5l3 3L9 18zM13.5 7.5l3 3',
  back: 'M14.5 5.5 8 12l6.5 6.5',
  forward: 'M9.5 5.5 16 12l-6.5 6.5',
  up: 'M12 19V6M6.5 11.5 12 6l5.5 5.5',
  down: 'M12 5v13M6.5 12.5 12 18l5.5-5.5',
  out: 'M10 4.5H5v15h5M14 8l4.5 4L14 16M9.5 12h9',
  heat: 'M10 13.5V5.5a2 2 0 1 1 4 0v8a4.2 4.2 0 1 1-4 0zM12 9.5v7',
  cpu: 'M7 7h10v10H7zM10 10h4v4h-4zM10 3.5V7M14 3.5V7M10 17v3.5M14 17v3.5M3.5 10H7M3.5 14H7M17 10h3.5M17 14h3.5',
  memory: 'M4 8h16v8H4zM8 8v8M12 8v8M16 8v8M6 16v2.5M12 16v2.5M18 16v2.5',
  disk: 'M7 3.5h7L18.5 8v12.5H5.5V5zM9 4v4M12 4v4M9 15.5h6',
  net: 'M8 4.5v15M4.5 8 8 4.5 11.5 8M16 19.5v-15M12.5 16l3.5 3.5 3.5-3.5',
  table: 'M4 5h16v14H4zM4 10h16M4 14.5h16M10 5v14',
  power: 'M12 3.5V11M7.2 6.5a7.5 7.5 0 1 0 9.6 0',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  phone: 'M7.5 3.5h9v17h-9zM11 17.5h2',
  key: 'M8 12a3.5 3.5 0 1 1 0 .01zM15 12h5.5M18 12v3M8 12h7',
} as const;

export type IconName = keyof typeof paths;

/** Never alone: the words beside it, or the control's name, say the same. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg viewBox="0 0 64 64" aria-hidden="true" focusable="false">
      <rect width="64" height="64" rx="15" fill="#0f766e" />
      <g fill="none" stroke-linecap="round">
        <path d="M12 46V31a20 20 0 0 1 40 0v15" stroke="#fff" stroke-width="6" />
        <path d="M23 46V32a9 9 0 0 1 18 0v14" stroke="#99f6e4" stroke-width="5" />
      </g>
      <circle cx="32" cy="46" r="4" fill="#fff" />
    </svg>
  );
}
