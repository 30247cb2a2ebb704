// 3x3 convolutions of stride 1 and padding 1 by F(4x4, 3x3): Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", CVPR 2016. A tile of 4x4 outputs is made from 6x6 inputs by 36 products for each pair of channels, where
// the sum that defines it takes 144. With tiles transformed in both directions:
//
//     output = A' [ sum over input channels of (G weight G') * (B' input B) ] A
//     gradient of the weight = G' [ sum over tiles of (B' input B) * (A gradient of the output A') ] G
//
// The gradient of the input is a convolution of the output's gradient with the weight turned by half a circle.
//
// Images are float32 with channels last. What is computed is the same for every number of threads, and for a tile
// whatever stands beside it.

#include <omp.h>

// Numbers that the processor handles at once, and what of a product its registers hold: TILES or ROWS of one matrix by
// GROUPS * LANES columns of the other.
#if defined(__AVX512F__)
constexpr long LANES = 16, TILES = 12, ROWS = 8, GROUPS = 2;
#elif defined(__AVX__)
constexpr long LANES = 8, TILES = 6, ROWS = 4, GROUPS = 2;
#else
constexpr long LANES = 4, TILES = 6, ROWS = 4, GROUPS = 4;
#endif
constexpr long PLACES = 36;  // of a transformed tile
static_assert(LANES % ROWS == 0, "channels are multiples of LANES, and are taken ROWS at a time");

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static lanes load(const float* from) { return *(const lanes*)from; }
static void store(float* to, lanes x) { *(lanes*)to = x; }

// Numbers from one place to the next of what has so many numbers at each: a little more, as rows that are a power of
// two apart get in each other's way in the cache.
static long padded(long numbers) { return numbers + LANES; }

// Matrices times one column or row, whose elements are `step` apart.

// B'
static void input_transform(const lanes* d, long step, lanes* to, long to_step) {
    const lanes d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const lanes a = d4 - 4 * d2, b = d3 - 4 * d1, c = d4 - d2, e = 2 * (d3 - d1);
    to[0] = 4 * d0 - 5 * d2 + d4;
    to[to_step] = a + b;
    to[2 * to_step] = a - b;
    to[3 * to_step] = c + e;
    to[4 * to_step] = c - e;
    to[5 * to_step] = 4 * d1 - 5 * d3 + d5;
}

// G
static void weight_transform(const lanes* g, long step, lanes* to, long to_step) {
    const lanes g0 = g[0], g1 = g[step], g2 = g[2 * step];
    const lanes a = g0 + g2, b = g0 + 4 * g2, c = 2 * g1;
    to[0] = g0 * (1.f / 4);
    to[to_step] = (a + g1) * (-1.f / 6);
    to[2 * to_step] = (a - g1) * (-1.f / 6);
    to[3 * to_step] = (b + c) * (1.f / 24);
    to[4 * to_step] = (b - c) * (1.f / 24);
    to[5 * to_step] = g2;
}

// A'
static void output_transform(const lanes* m, long step, lanes* to, long to_step) {
    const lanes a = m[step] + m[2 * step], b = m[step] - m[2 * step];
    const lanes c = m[3 * step] + m[4 * step], d = m[3 * step] - m[4 * step];
    to[0] = m[0] + a + c;
    to[to_step] = b + 2 * d;
    to[2 * to_step] = a + 4 * c;
    to[3 * to_step] = b + 8 * d + m[5 * step];
}

// A
static void output_adjoint(const lanes* y, long step, lanes* to, long to_step) {
    const lanes y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    const lanes a = y0 + y2, b = y1 + y3, c = y0 + 4 * y2, d = 2 * y1 + 8 * y3;
    to[0] = y0;
    to[to_step] = a + b;
    to[2 * to_step] = a - b;
    to[3 * to_step] = c + d;
    to[4 * to_step] = c - d;
    to[5 * to_step] = y3;
}

// G'
static void weight_adjoint(const lanes* u, long step, lanes* to, long to_step) {
    const lanes a = u[step] + u[2 * step], b = u[2 * step] - u[step];
    const lanes c = u[3 * step] + u[4 * step], d = u[3 * step] - u[4 * step];
    to[0] = u[0] * (1.f / 4) - a * (1.f / 6) + c * (1.f / 24);
    to[to_step] = b * (1.f / 6) + d * (1.f / 12);
    to[2 * to_step] = (c - a) * (1.f / 6) + u[5 * step];
}

// A matrix times every column, then every row: from in x in numbers to out x out.
template <void (*matrix)(const lanes*, long, lanes*, long), long in, long out>
static void both_ways(const lanes* from, lanes* to) {
    lanes half[out * in];
    for (long j = 0; j < in; j++) matrix(from + j, in, half + j, in);
    for (long i = 0; i < out; i++) matrix(half + in * i, 1, to + out * i, 1);
}

// Images (n, height, width, channels) and the tiles of 4x4 that they are cut into, one image after the other.
struct Tiling {
    long n, height, width;
    long down() const { return (height + 3) / 4; }
    long across() const { return (width + 3) / 4; }
    long tiles() const { return n * down() * across(); }

    // Read size x size numbers of a channel and its neighbours from the tile's corner on, `before` it in both
    // directions; beyond the image are zeros.
    template <long size>
    void read(const float* from, long channels, long channel, long tile, long before, lanes* to) const {
        const long row = tile / across() % down() * 4 - before, column = tile % across() * 4 - before;
        const float* const image = from + tile / (down() * across()) * height * width * channels + channel;
        for (long i = row; i < row + size; i++)
            for (long j = column; j < column + size; j++) {
                const bool inside = i >= 0 && i < height && j >= 0 && j < width;
                *to++ = inside ? load(image + (i * width + j) * channels) : lanes{};
            }
    }

    // Write the 4x4 numbers of a channel and its neighbours that belong to the tile.
    void write(const lanes* from, float* to, long channels, long channel, long tile) const {
        const long row = tile / across() % down() * 4, column = tile % across() * 4;
        float* const image = to + tile / (down() * across()) * height * width * channels + channel;
        for (long i = row; i < row + 4; i++)
            for (long j = column; j < column + 4; j++, from++)
                if (i < height && j < width) store(image + (i * width + j) * channels, *from);
    }
};

// Transform size x size numbers from a tile's corner on, or from `before` it, to places that are `step` apart.
template <void (*matrix)(const lanes*, long, lanes*, long), long size, long before>
static void transform(const float* from, const Tiling& tiling, long channels, long tile, float* to, long step) {
    for (long c = 0; c < channels; c += LANES) {
        lanes numbers[size * size], places[PLACES];
        tiling.read<size>(from, channels, c, tile, before, numbers);
        both_ways<matrix, size, 6>(numbers, places);
        for (long k = 0; k < PLACES; k++) store(to + k * step + c, places[k]);
    }
}
constexpr auto transform_input = transform<input_transform, 6, 1>;
constexpr auto transform_gradient = transform<output_adjoint, 4, 0>;

// m (TILES, groups * LANES) = v (TILES, inputs) times u (inputs, groups * LANES); m and u are `outputs` wide.
template <long groups>
static void multiply(const float* v, const float* u, float* m, long inputs, long outputs) {
    lanes sums[TILES][groups] = {};
    for (long i = 0; i < inputs; i++)
        for (long t = 0; t < TILES; t++)
            for (long g = 0; g < groups; g++) sums[t][g] += v[t * inputs + i] * load(u + i * outputs + g * LANES);
    for (long t = 0; t < TILES; t++)
        for (long g = 0; g < groups; g++) store(m + t * outputs + g * LANES, sums[t][g]);
}

// u (ROWS, groups * LANES) += v (tiles, ROWS)' times m (tiles, groups * LANES); v is `inputs` wide, m and u `outputs`.
template <long groups>
static void accumulate(const float* v, const float* m, float* u, long tiles, long inputs, long outputs) {
    lanes sums[ROWS][groups];
    for (long r = 0; r < ROWS; r++)
        for (long g = 0; g < groups; g++) sums[r][g] = load(u + r * outputs + g * LANES);
    for (long t = 0; t < tiles; t++)
        for (long r = 0; r < ROWS; r++)
            for (long g = 0; g < groups; g++) sums[r][g] += v[t * inputs + r] * load(m + t * outputs + g * LANES);
    for (long r = 0; r < ROWS; r++)
        for (long g = 0; g < groups; g++) store(u + r * outputs + g * LANES, sums[r][g]);
}

// Tiles whose transforms are summed up at a time: with some 4 MB, they are still in the cache then.
static long chunk(long inputs, long outputs) { return 1 + (1 << 20) / (PLACES * (inputs + outputs)); }

// Floats that the transforms of so many tiles take.
static long room_of(long tiles, long inputs, long outputs) {
    return PLACES * (padded(tiles * inputs) + padded(tiles * outputs));
}

extern "C" {

// How many numbers the processor handles at once; channels must be multiples of it.
long winograd_lanes() { return LANES; }

// Floats that transformed weights take, for so many pairs of channels.
long winograd_weight_room(long pairs) { return PLACES * padded(pairs); }

// Floats that each thread of winograd_forward needs beside its arguments, and all of winograd_weight_gradient together.
long winograd_forward_room(long inputs, long outputs) { return room_of(TILES, inputs, outputs); }
long winograd_gradient_room(long inputs, long outputs) { return room_of(chunk(inputs, outputs), inputs, outputs); }

// From weights (3, 3, pairs of channels), turned by half a circle or not, to transformed ones.
void winograd_weight(const float* weight, float* transformed, long threads, long turned, long pairs) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long p = 0; p < pairs; p += LANES) {
        lanes g[9], places[PLACES];
        for (long k = 0; k < 9; k++) g[k] = load(weight + (turned ? 8 - k : k) * pairs + p);
        both_ways<weight_transform, 3, 6>(g, places);
        for (long k = 0; k < PLACES; k++) store(transformed + k * padded(pairs) + p, places[k]);
    }
}

// From images x and transformed weights u (inputs, outputs) to y; bias may be null. Each thread takes a few tiles at
// once through all steps, so that what is in between stays in its cache.
void winograd_forward(const float* x, const float* u, const float* bias, float* y, float* room, long threads, long n,
                      long height, long width, long inputs, long outputs) {
    const Tiling tiling = {n, height, width};
    const long tiles = tiling.tiles(), v_step = padded(TILES * inputs), m_step = padded(TILES * outputs);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long first = 0; first < tiles; first += TILES) {
        float* const v = room + omp_get_thread_num() * winograd_forward_room(inputs, outputs);
        float* const m = v + PLACES * v_step;
        const long count = tiles - first < TILES ? tiles - first : TILES;  // what m has beyond them is not looked at
        for (long t = 0; t < count; t++) transform_input(x, tiling, inputs, first + t, v + t * inputs, v_step);
        for (long k = 0; k < PLACES; k++) {
            const float* const vk = v + k * v_step;
            const float* const uk = u + k * padded(inputs * outputs);
            float* const mk = m + k * m_step;
            long o = 0;
            for (; o + GROUPS * LANES <= outputs; o += GROUPS * LANES)
                multiply<GROUPS>(vk, uk + o, mk + o, inputs, outputs);
            for (; o < outputs; o += LANES) multiply<1>(vk, uk + o, mk + o, inputs, outputs);
        }
        for (long t = 0; t < count; t++)
            for (long o = 0; o < outputs; o += LANES) {
                lanes places[PLACES], out[16];
                for (long k = 0; k < PLACES; k++) places[k] = load(m + k * m_step + t * outputs + o);
                both_ways<output_transform, 6, 4>(places, out);
                if (bias)
                    for (long i = 0; i < 16; i++) out[i] += load(bias + o);
                tiling.write(out, y, outputs, o, first + t);
            }
    }
}

// From images x and the gradient of y to that of the weights (3, 3, inputs, outputs). The sums are as large as
// transformed weights, and zeros at first; each thread adds up some places of them over all tiles.
void winograd_weight_gradient(const float* x, const float* y, float* weight, float* sums, float* room, long threads,
                              long n, long height, long width, long inputs, long outputs) {
    const Tiling tiling = {n, height, width};
    const long tiles = tiling.tiles(), pairs = inputs * outputs, most = chunk(inputs, outputs);
    const long v_step = padded(most * inputs), m_step = padded(most * outputs);
    float* const v = room;
    float* const m = v + PLACES * v_step;
#pragma omp parallel num_threads(threads)
    {
        for (long first = 0; first < tiles; first += most) {
            const long count = tiles - first < most ? tiles - first : most;
#pragma omp for schedule(static)
            for (long t = 0; t < count; t++) {
                transform_input(x, tiling, inputs, first + t, v + t * inputs, v_step);
                transform_gradient(y, tiling, outputs, first + t, m + t * outputs, m_step);
            }
#pragma omp for schedule(static)
            for (long k = 0; k < PLACES; k++)
                for (long i = 0; i < inputs; i += ROWS) {
                    const float* const vk = v + k * v_step + i;
                    const float* const mk = m + k * m_step;
                    float* const uk = sums + k * padded(pairs) + i * outputs;
                    long o = 0;
                    for (; o + GROUPS * LANES <= outputs; o += GROUPS * LANES)
                        accumulate<GROUPS>(vk, mk + o, uk + o, count, inputs, outputs);
                    for (; o < outputs; o += LANES) accumulate<1>(vk, mk + o, uk + o, count, inputs, outputs);
                }
        }
#pragma omp for schedule(static)
        for (long p = 0; p < pairs; p += LANES) {
            lanes places[PLACES], g[9];
            for (long k = 0; k < PLACES; k++) places[k] = load(sums + k * padded(pairs) + p);
            both_ways<weight_adjoint, 6, 3>(places, g);
            for (long k = 0; k < 9; k++) store(weight + k * pairs + p, g[k]);
        }
    }
}
}
