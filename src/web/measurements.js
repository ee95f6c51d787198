// The measurements of a result as rows of a table; in micrometres where the image's pixel size is known.

const MICROMETRES = ["area_um2", "equivalent_diameter_um", "perimeter_um"];
const PIXELS = ["area_px", "equivalent_diameter_px", "perimeter_px"];

export function measurementsTable(objects) {
  const inMicrometres = objects.some((object) => object.measurements.micrometres);
  const unit = inMicrometres ? "µm" : "px";
  const heads = ["No.", "Part", `Area (${unit}²)`, `Diameter (${unit})`, `Perimeter (${unit})`, "Circularity",
    "Mean intensity", "At the frame"];
  const row = ({ number, part, measurements }) => {
    const sizes = inMicrometres ? measurements.micrometres ?? {} : measurements;
    const names = inMicrometres ? MICROMETRES : PIXELS;
    return [number, part, ...names.map((name) => figure(sizes[name])), figure(measurements.circularity, 3),
      figure(measurements.intensity_mean), measurements.touches_border ? "yes" : "no"];
  };
  return { heads, rows: objects.map(row) };
}

function figure(value, digits = 1) {
  if (value === undefined) return "–";
  const least = Number.isInteger(value) ? 0 : digits;
  return value.toLocaleString(undefined, { maximumFractionDigits: digits, minimumFractionDigits: least });
}
