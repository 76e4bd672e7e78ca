import type { GatewayConfig, StageDefinition, StagePort } from '../../stages/define.ts';

/** What stages may know of the configuration: the options and ports of all that are enabled. Pure. */
export function gatewayConfig(
  config: Pick<GatewayConfig, 'name' | 'stages'>,
  enabled: readonly StageDefinition[],
): GatewayConfig {
  return {
    name: config.name,
    stages: config.stages,
    ports: enabled.flatMap((stage) =>
      (stage.ports?.(config.stages[stage.name]) ?? []).map((port) => ({
        ...port,
        stage: stage.name,
      })),
    ),
  };
}

/** Two ports of which each is of another stage and service, and which cannot both be listened on. */
export function portClashes(ports: readonly StagePort[]): [StagePort, StagePort][] {
  return ports.flatMap((one, index) =>
    ports
      .slice(index + 1)
      .filter(
        (other) =>
          other.port === one.port &&
          other.protocol === one.protocol &&
          other.stage !== one.stage &&
          other.name !== one.name,
      )
      .map((other): [StagePort, StagePort] => [one, other]),
  );
}
