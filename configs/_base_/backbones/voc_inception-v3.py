# Inception-v3 for segmentation, padded for dense prediction, with torchvision's ImageNet weights, which expect pixels
# from -1 to 1.
backbone = dict(
    type='inimg_mm.InceptionV3',
    padding='same',
    init_cfg=dict(type='inimg_mm.Pretrained', checkpoint='torchvision://inception_v3_google'),
)
pixels = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
channels = [192, 288, 768, 2048]
