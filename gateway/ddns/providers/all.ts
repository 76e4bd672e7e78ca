import type { ProviderSettings } from '../settings.ts';
import { cloudflare } from './cloudflare.ts';
import { duckdns } from './duckdns.ts';
import { dyndns2 } from './dyndns2.ts';
import { freedns } from './freedns.ts';
import { namecheap } from './namecheap.ts';
import { noip } from './noip.ts';
import type { Provider } from './provider.ts';
import { rfc2136 } from './rfc2136.ts';

type Providers = { [Type in ProviderSettings['type']]: Provider<Type> };

export const providers: Providers = {
  duckdns,
  noip,
  cloudflare,
  freedns,
  namecheap,
  dyndns2,
  rfc2136,
};

/** The provider of these settings; its functions take the settings of its own type. */
export function providerOf(settings: ProviderSettings): Provider {
  return providers[settings.type] as unknown as Provider;
}
