/** Renews certificates and lets the proxy have them: gateway/proxy/reconcile.ts. */
export const certificatesUnit = 'pi-gateway-certificates.service';
