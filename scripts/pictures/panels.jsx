// Draws one dashboard with Grafana's own panel components: window.draw(dashboard, answers, range).
//
// `answers` maps "panel id/refId" to what Prometheus gave: [{labels, points: [[seconds, value], ...]}]. This is no Grafana: it
// knows the kinds of panels and the options that our dashboards use, and complains about a unit that Grafana does not know.

import 'uplot/dist/uPlot.min.css';

import {
  createTheme,
  dateTime,
  EventBusSrv,
  FieldType,
  getDisplayProcessor,
  getValueFormats,
  ThemeContext,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { createRoot } from 'react-dom/client';

const COLUMNS = 24;
const CELL = 30; // Grafana's grid: rows of 30 px with 8 px between them
const GAP = 8;
const MARGIN = 16;
const TIME_ZONE = 'utc';

const theme = createTheme({ colors: { mode: 'dark' } });
const units = new Set(getValueFormats().flatMap((category) => category.submenu.map((unit) => unit.value)));

const legendOf = (format, labels) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');

function configOf(panel, name) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = structuredClone({ ...defaults, custom: defaults.custom ?? {}, displayNameFromDS: name });
  for (const { matcher, properties } of overrides ?? []) {
    if (matcher.id === 'byName' && matcher.options === name) {
      for (const { id, value } of properties) {
        id.startsWith('custom.') ? (config.custom[id.slice('custom.'.length)] = value) : (config[id] = value);
      }
    }
  }
  config.thresholds = { ...config.thresholds, steps: (config.thresholds?.steps ?? []).map((step) => ({ ...step, value: step.value ?? -Infinity })) };
  return config;
}

function shown(field) {
  return { ...field, display: getDisplayProcessor({ field, theme, timeZone: TIME_ZONE }) };
}

function rangeOf(points) {
  const values = points.map(([, value]) => value).filter(Number.isFinite);
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return { min, max, delta: max - min };
}

function framesOf(panel, answers) {
  if (!units.has(panel.fieldConfig.defaults.unit)) {
    throw new Error(`${panel.title}: Grafana knows no unit ${panel.fieldConfig.defaults.unit}`);
  }
  const series = panel.targets.flatMap((target) =>
    (answers[`${panel.id}/${target.refId}`] ?? []).map((one) => ({ ...one, name: legendOf(target.legendFormat, one.labels) }))
  );
  return series.map(({ name, points }, seriesIndex) => {
    const time = { name: 'Time', type: FieldType.time, config: {}, values: points.map(([at]) => at * 1000) };
    const value = {
      name,
      type: FieldType.number,
      config: configOf(panel, name),
      values: points.map(([, one]) => one),
      state: { seriesIndex, displayName: name, range: rangeOf(points) },
    };
    return { name, length: points.length, fields: [shown(time), shown(value)] };
  });
}

function Lines({ panel, frames, range, width, height }) {
  const legend = { ...panel.options.legend, showLegend: true, calcs: panel.options.legend.calcs ?? [] };
  return <TimeSeries {...{ frames, width, height, legend }} timeRange={range} timeZone={TIME_ZONE} options={panel.options} />;
}

function Numbers({ panel, frames, width, height }) {
  const { colorMode, justifyMode } = panel.options;
  const several = frames.length > 1;
  const draw = ({ value: frame, width, height }) => {
    const [, field] = frame.fields;
    const value = { ...field.display(field.values.at(-1)), title: several ? frame.name : undefined };
    const textMode = several ? 'value_and_name' : 'value';
    return <BigValue {...{ value, textMode, colorMode, justifyMode, theme, width, height }} graphMode="none" />;
  };
  return (
    <VizRepeater
      getValues={() => frames}
      renderValue={draw}
      source={frames}
      orientation={width > height * 1.5 ? 'vertical' : 'horizontal'}
      itemSpacing={3}
      autoGrid
      {...{ width, height }}
    />
  );
}

function Labels({ panel, answers, width, height }) {
  const [kept, order] = panel.transformations.map((one) => one.options);
  const rows = answers[`${panel.id}/${panel.targets[0].refId}`] ?? [];
  if (rows.length === 0) {
    return <div style={{ padding: 16, color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue}</div>;
  }
  const fields = kept.include.names.map((label) => {
    const name = order.renameByName[label];
    return shown({ name, type: FieldType.string, config: { custom: configOf(panel, name).custom }, values: rows.map((row) => row.labels[label] ?? '') });
  });
  return <TableNG data={{ length: rows.length, fields }} structureRev={1} {...{ width, height }} />;
}

function Panel({ panel, answers, range, width, height }) {
  const frames = panel.type === 'table' ? [] : framesOf(panel, answers);
  const Kind = { timeseries: Lines, stat: Numbers, table: Labels }[panel.type];
  const nothing = panel.type !== 'table' && frames.length === 0;
  return (
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height} padding={panel.type === 'table' ? 'none' : 'md'}>
      {(innerWidth, innerHeight) =>
        nothing ? (
          <div style={{ color: theme.colors.text.secondary }}>No data</div>
        ) : (
          <Kind {...{ panel, frames, answers, range }} width={innerWidth} height={innerHeight} />
        )
      }
    </PanelChrome>
  );
}

function Head({ dashboard, range }) {
  const chip = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 4, padding: '3px 8px', marginLeft: 8 };
  const time = `${range.from.utc().format('HH:mm:ss')} to ${range.to.utc().format('HH:mm:ss')} UTC`;
  return (
    <div style={{ display: 'flex', alignItems: 'center', height: 40, fontSize: 12 }}>
      <span style={{ fontSize: 20, fontWeight: 500, marginRight: 'auto' }}>{dashboard.title}</span>
      {dashboard.templating.list.map((one) => (
        <span key={one.name} style={chip}>{`${one.label}: ${one.type === 'datasource' ? 'Prometheus' : 'All'}`}</span>
      ))}
      <span style={chip}>{time}</span>
    </div>
  );
}

function Dashboard({ dashboard, answers, range, width }) {
  const column = (width - 2 * MARGIN + GAP) / COLUMNS;
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <div style={{ background: theme.colors.background.canvas, padding: MARGIN, boxSizing: 'border-box', width, color: theme.colors.text.primary }}>
      <Head {...{ dashboard, range }} />
      <div style={{ position: 'relative', height: bottom * (CELL + GAP) }}>
        {dashboard.panels.map((panel) => {
          const { x, y, w, h } = panel.gridPos;
          const size = { width: w * column - GAP, height: h * (CELL + GAP) - GAP };
          return (
            <div key={panel.id} style={{ position: 'absolute', left: x * column, top: y * (CELL + GAP), ...size }}>
              {panel.type === 'row' ? (
                <div style={{ fontSize: 16, fontWeight: 500, lineHeight: `${CELL}px` }}>{panel.title}</div>
              ) : (
                <Panel {...{ panel, answers, range }} {...size} />
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}

const quiet = { eventBus: new EventBusSrv(), eventsScope: '' };

window.draw = (dashboard, answers, { from, to }, width) => {
  const range = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: 'now-5m', to: 'now' } };
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <PanelContextProvider value={quiet}>
        <GlobalStyles />
        <Dashboard {...{ dashboard, answers, range, width }} />
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
};
