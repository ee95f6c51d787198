#!/usr/bin/env python3
"""Makes the images of this folder: what the encoders of the tests cannot write. Needs numpy, tifffile, imagecodecs, Pillow.

All show the same 24 x 16 pixels, grey(x, y) = 9 x + 2 y, or that times 257 in 16 bits; `src/segment/decode/golden.rs`
says which file holds what. They are drawn here, so nobody else has a right in them.
"""
import os
import struct
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

WIDTH, HEIGHT = 24, 16
x = np.arange(WIDTH)
y = np.arange(HEIGHT)[:, None]
grey = (9 * x + 2 * y).astype("u1")
words = grey.astype("u2") * 257
# Colours whose luminance is the grey: a grey colour.
rgb = np.stack([grey] * 3, -1)
folder = os.path.dirname(os.path.abspath(__file__))


def tiff(name, pixels, **options):
    options.setdefault("photometric", "minisblack")
    options.setdefault("metadata", None)
    options.setdefault("software", False)
    tifffile.imwrite(os.path.join(folder, name), pixels, **options)


def planes(pixels):
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


# Tiles, predictors, byte orders, compressions.
tiff("lzw_tiles_big_endian.tif", words, byteorder=">", tile=(16, 16), compression="lzw", predictor=2)
tiff("deflate_float_predictor.tif", grey.astype("f4") / 4, compression="deflate", predictor=3, rowsperstrip=5)
tiff("half_float_predictor.tif", grey.astype("f2") / 4, byteorder=">", compression="deflate", predictor=3)
tiff("zstd_big_tiff.tif", words, bigtiff=True, compression="zstd", rowsperstrip=8)
tiff("packbits_double.tif", grey.astype("f8"), compression="packbits", rowsperstrip=7)
# Colours in planes, with more channels, as ink.
tiff("planes_lzw.tif", planes(rgb), photometric="rgb", planarconfig="separate", compression="lzw", rowsperstrip=4)
tiff("rgb_alpha_tiles.tif", np.dstack([rgb, 255 - grey]), photometric="rgb", tile=(16, 16), extrasamples=["unassalpha"])
tiff("cmyk.tif", np.dstack([255 - rgb, grey * 0]), photometric="separated", compression="deflate")
# Depths and meanings.
tiff("twelve_bits.tif", (words >> 4), bitspersample=12)
tiff("white_is_zero.tif", 255 - grey, photometric="miniswhite", compression="lzw")
tiff("signed.tif", words.astype("i4") - 40_000, byteorder=">", rowsperstrip=6)
colormap = np.stack([np.arange(255, -1, -1) * 257] * 3).astype("u2")
tiff("palette_packbits.tif", 255 - grey, photometric="palette", colormap=colormap, compression="packbits")
# JPEG inside, with tables of its own or common ones.
tiff("jpeg_ycbcr_tiles.tif", rgb, photometric="rgb", tile=(16, 16), compression="jpeg", compressionargs={"level": 95}, subsampling=(2, 2))
Image.fromarray(rgb).save(os.path.join(folder, "jpeg_common_tables.tif"), compression="jpeg", quality=95)

# Luma and chroma in blocks of 2 x 2, not compressed: what tifffile does not write.
blocks = bytearray()
for row in range(0, HEIGHT, 2):
    for column in range(0, WIDTH, 2):
        blocks += grey[row : row + 2, column : column + 2].tobytes() + b"\x80\x80"
tags = [(256, 4, WIDTH), (257, 4, HEIGHT), (258, 3, 8), (259, 3, 1), (262, 3, 6), (273, 4, 8), (277, 3, 3), (278, 4, HEIGHT), (279, 4, len(blocks))]
with open(os.path.join(folder, "ycbcr_blocks.tif"), "wb") as file:
    file.write(b"II*\0" + struct.pack("<I", 8 + len(blocks)) + blocks + struct.pack("<H", len(tags)))
    for tag, kind, value in tags:
        file.write(struct.pack("<HHII", tag, kind, 1, value))
    file.write(struct.pack("<I", 0))

# Pages: page p has p added to every pixel. A stack with one directory, OME's first page for all, small copies between.
stack = np.stack([grey + page for page in range(3)]).astype("u1")
tiff("imagej_stack_one_directory.tif", stack, imagej=True, truncate=True, resolution=(2, 4), metadata={"unit": "um"})
xml = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="uint8" SizeX="24" SizeY="16" SizeC="1" SizeZ="3" SizeT="1" '
    'PhysicalSizeX="650.0" PhysicalSizeXUnit="nm" PhysicalSizeY="0.65"><TiffData/></Pixels></Image></OME>'
)
with tifffile.TiffWriter(os.path.join(folder, "pages.ome.tif"), ome=False) as writer:
    for page, pixels in enumerate(stack):
        writer.write(pixels, description=xml if page == 0 else None, metadata=None, software=False, compression="deflate")
with tifffile.TiffWriter(os.path.join(folder, "small_copies.tif")) as writer:
    writer.write(grey[::4, ::4], subfiletype=1, metadata=None, software=False)
    writer.write(grey, subifds=1, metadata=None, software=False)
    writer.write(grey[::2, ::2], subfiletype=1, metadata=None, software=False)
    writer.write((grey + 1), metadata=None, software=False)

# JPEG: progressive, ink, colours as they are.
for name, mode, options in [
    ("progressive.jpg", "RGB", {"progressive": True}),
    ("subsampled_restarts.jpg", "RGB", {"subsampling": 2, "restart_marker_blocks": 1}),
    ("cmyk.jpg", "CMYK", {}),
    ("rgb.jpg", "RGB", {"keep_rgb": True}),
]:
    Image.fromarray(rgb).convert(mode).save(os.path.join(folder, name), quality=95, **options)
with open(os.path.join(folder, "rows_share_chroma.jpg"), "wb") as file:
    file.write(imagecodecs.jpeg8_encode(rgb, level=95, subsampling="440", optimize=True))


# PNG: interlaced, and fewer than 8 bits, which Pillow does not write.
def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(name, depth, kind, rows, extra=b"", interlaced=0):
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    with open(os.path.join(folder, name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + body)


def passes(pixels):
    for left, top, across, down in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        for row in pixels[top::down, left::across]:
            yield row


png("interlaced_rgb16.png", 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in passes(np.stack([words] * 3, -1))), interlaced=1)
palette = chunk(b"PLTE", np.stack([np.arange(256)] * 3, -1).astype("u1").tobytes())
png("interlaced_palette.png", 8, 3, b"".join(b"\0" + row.tobytes() for row in passes(grey)), palette, 1)
nibbles = (grey // 17).astype("u1")
png("four_bits.png", 4, 0, b"".join(b"\0" + (row[::2] << 4 | row[1::2]).tobytes() for row in nibbles))


# BMP: run lengths, masks, top down.
def bmp(name, bits, compression, data, palette=b"", height=HEIGHT, masks=b""):
    offset = 54 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + masks + palette + data)


greys = np.stack([np.arange(256)] * 3 + [np.zeros(256)], -1).astype("u1").tobytes()
runs = bytearray()
for row in grey[::-1]:
    # Eight pixels one by one, then a literal of fifteen and a byte to even it out, then the last as a run of one.
    runs += b"".join(bytes([1, value]) for value in row[:8])
    runs += bytes([0, 15]) + row[8:23].tobytes() + b"\0" + bytes([1, row[23]]) + b"\0\0"
bmp("runs.bmp", 8, 1, bytes(runs) + b"\0\1", greys)
bmp("masks_top_down.bmp", 32, 3, (grey.astype("<u4") * 0x01010100).tobytes(), height=-HEIGHT, masks=struct.pack("<III", 0xFF000000, 0x00FF0000, 0x0000FF00))
