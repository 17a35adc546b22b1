"""Masks and regions between Label Studio's formats and the field's: pure, mirrored functions.

Modules are named by format; import from them: `from converters.encodings.brush import mask_to_brush_rle`.

    masks         components, holes, outlines, rasterised polygons; the `Mask` type they all share
    brush         Label Studio's brush bit stream          <-> (H, W) bool
    bitmask       Label Studio's PNG data URL              <-> (H, W) bool
    coco_rle      COCO run lengths, compressed or not      <-> (H, W) bool
    label_config  Label Studio's labelling XML              -> controls, labels, images
    shapes        a region's value, whatever tool drew it    -> (H, W) bool
    records       the neutral records every dataset format reads and writes
    json_stream   a large JSON array                        -> its elements, one at a time
    json_values   numbers and names in JSON                 -> those, or None
    image_files   image addresses of tasks                  -> file names and sizes
    label_studio  Label Studio's exports and API tasks      -> records
    tasks         records                                   -> Label Studio tasks, label configs
    selection     which images and regions go into a dataset, and the count of the rest
    coco          records                                   -> COCO instances
    coco_reader   COCO instances                            -> records
    coco_update   corrected records                         -> the COCO file that they began with
    panoptic      COCO panoptic                            <-> records
    semantic_png  indexed PNGs and their labels            <-> records
    yolo          YOLO segmentation (data_yaml: its names) <-> records
    overlaps      regions that overlap -> one label a pixel, by the stated rule
    colours       a category's colour; VOC's palette
    png, output   PNGs held against a size; files and folders that appear whole or not at all
    validate      what Label Studio drops or hides in silence (shape_faults: of one region)
    cli, commands `python -m converters`
    evaluate      label maps against label maps: IoU a category, mean IoU
    boundary, panoptic_quality, reliability   boundary IoU; PQ, SQ, RQ; scores against outcomes
    corrections   annotations beside the predictions they replaced (correction_scores: their sums)
    evaluate_corrections   an export -> report: JSON, Markdown (report_markdown), HTML (report_html, charts)

Needs numpy, Pillow, pycocotools and defusedxml; never torch, never Label Studio, never `ovdiff` or `backend`.
Everything that reads from outside checks sizes before it allocates and raises a
`converters.errors.ConverterError`.
"""
