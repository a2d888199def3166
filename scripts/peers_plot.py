# SPDX-License-Identifier: BSD-3-Clause
"""A plot of times over sizes, both logarithmic, as SVG without any library."""
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 820, 460, 70, 230, 20, 50
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7")  # told apart by all
UNITS = ((1 << 20, "MB"), (1 << 10, "KB"), (1, "B"))


def size_text(size):
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:g} {name}"
    return str(size)


def time_text(us):
    return f"{us:g} us" if us < 1000 else f"{us / 1000:g} ms" if us < 1e6 else f"{us / 1e6:g} s"


class Plot:
    def __init__(self, sizes, times):
        self.x = (math.log2(sizes[0]), math.log2(sizes[-1]))
        self.y = (math.floor(math.log10(min(times))), math.ceil(math.log10(max(times))))
        self.out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                    'font-family="sans-serif" font-size="13">',
                    "<!-- SPDX-License-Identifier: BSD-3-Clause; by scripts/bench-peers -->",
                    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def at(self, size, us):
        span = max(self.x[1] - self.x[0], 1e-9)
        x = LEFT + (math.log2(size) - self.x[0]) / span * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (math.log10(us) - self.y[0]) / max(self.y[1] - self.y[0], 1) * (
            HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    def text(self, x, y, text, anchor="start"):
        self.out.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>')

    def axes(self, sizes):
        for decade in range(self.y[0], self.y[1] + 1):
            _, y = self.at(sizes[0], 10.0 ** decade)
            self.out.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            self.text(LEFT - 8, y + 4, time_text(10.0 ** decade), "end")
        for size in sizes:
            x, _ = self.at(size, 10.0 ** self.y[0])
            self.text(x, HEIGHT - BOTTOM + 20, size_text(size), "middle")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8,
                  "all-reduce of f32, two workers, one machine: median time", "middle")

    def line(self, i, name, points):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x},{y}" for x, y in points)
        self.out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        self.out += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points]
        y = TOP + 20 + 22 * i
        self.out.append(f'<path d="M{WIDTH - RIGHT + 15} {y}h24" stroke="{colour}" stroke-width="3"/>')
        self.text(WIDTH - RIGHT + 45, y + 4, name)


def write(path, sizes, series):
    plot = Plot(sizes, [us for _, times in series for us in times])
    plot.axes(sizes)
    for i, (name, times) in enumerate(series):
        plot.line(i, name, [plot.at(s, us) for s, us in zip(sizes, times)])
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(plot.out) + "\n</svg>\n")
