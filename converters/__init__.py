"""Masks and regions between Label Studio's formats and the field's, each way by a function that mirrors the other.

Modules are named by format; import from them: `from converters.encodings.brush import mask_to_brush_rle`. Each room
imports only from the rooms above it in this list.

    errors         what is raised here on purpose
    workers        a function applied to many items by several processes, in order

    encodings/     masks and arrays, no files
        masks          the `Mask` type, connected parts, holes
        polygons       outlines of masks                     <-> (H, W) bool
        brush          Label Studio's brush bit stream       <-> (H, W) bool
        bitmask        Label Studio's PNG data URL           <-> (H, W) bool
        coco_rle       COCO run lengths, compressed or not   <-> (H, W) bool
        png_chunks     the checksums of a PNG, compared before its pixels are believed
        overlaps       regions that overlap                   -> one label for each pixel
        colours        the colour of a category, and PASCAL VOC's palette

    files/         reading with limits, writing whole
        atomic         files and folders that appear whole or not at all
        output         the files and folders that a command writes
        json_stream    a large JSON array                     -> its elements, one at a time
        json_values    types of JSON objects, and checked values from JSON
        image_files    image addresses of tasks               -> file names and sizes
        png            PNG files of label maps, held against a size

    records        the neutral records that every format reads or writes
    selection      which images and regions go into a dataset, and the counts of all others

    label_studio/  Label Studio's own forms
        label_config   the labelling XML                      -> controls, labels, images
        categories     a label config                         -> categories with numbers
        region_details crowds, answers and keypoints of a region, both ways
        shapes         the value of a region, of any tool     -> (H, W) bool
        regions        the results of one annotation          -> regions
        reader         exports and API tasks                  -> records, of what is asked for
        tasks          records                                -> tasks
        config_for     categories                             -> a label config
        validate       what Label Studio drops or hides in silence
        findings       its kinds of faults, and how a fault is told
        shape_faults   faults in the shape of one region
        value_faults   faults in labels, choices, texts and numbers
        field_faults   faults in the fields of annotations, predictions, results and relations
        repeats        what comes twice and should not

    datasets/      the formats of datasets
        coco           records                                -> COCO instances
        coco_index     a COCO file                            -> its rows in order, bad ones counted
        coco_regions   the annotations of an image            -> regions
        coco_details   crowds, keypoints and attributes of annotations, both ways
        coco_reader    COCO instances                         -> records
        coco_update    corrected records                      -> the COCO file that they were imported from
        rle_table      COCO instances as Parquet             <-> COCO instances
        shards         many such files                        -> one COCO file
        panoptic       COCO panoptic                         <-> records
        semantic_png   records                                -> indexed PNGs and their labels
        semantic_png_reader   label PNGs of any kind          -> records
        semantic_layouts      where the PNGs of VOC, ADE20K, Cityscapes and others lie
        pixel_labels          what their values and colours mean
        yolo           records                                -> YOLO segmentation
        yolo_reader    YOLO, segmentation or boxes            -> records
        data_yaml      the data.yaml of a YOLO dataset       <-> category names

    corrections/   annotations beside the predictions that they replaced
        pairs              each predicted region and what became of it
        common_runs        two label maps of one image as runs of pixels
        confusion          label maps against label maps: IoU of each category, mean IoU
        boundary           boundary IoU
        panoptic_quality   PQ, SQ and RQ
        reliability        scores against outcomes
        sums, scores       running sums, and the report that they add up to
        result             that report as data

    report/        that report for people
        evaluate_corrections   an export -> report in JSON, Markdown and HTML
        markdown, html         the two pages
        text, markup           the words and numbers of both pages, escaped text
        charts, pictures       SVG

    console, commands, cli     `python -m converters`

Needs numpy, Pillow, pycocotools, defusedxml and PyYAML, and pyarrow for Parquet alone; never torch, never Label
Studio, never `ovdiff` or `backend`.
Everything that reads from outside checks sizes before it allocates and raises a
`converters.errors.ConverterError`.
"""
